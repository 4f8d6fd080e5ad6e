//! URLs of brokers and services.

use url::Url;

use super::reader::Value;
use super::words::{known_words, nearest};

impl Value<'_> {
    /// `text`, which this value says, as a URL with a host and one of `schemes`, without a fragment; `example` is a
    /// good one. A user or password in it is refused, since logs and process lists would show it: `credentials` says
    /// where they belong.
    pub(super) fn url_of(
        &self,
        text: &str,
        example: &str,
        schemes: &[&str],
        credentials: &str,
    ) -> Option<Url> {
        let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
        let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return self.wrong_secret(format!(
                "must not hold a user or password, which would show up in logs; put them into {credentials}"
            ));
        }
        let Some((scheme, _)) = text.split_once("://") else {
            return self.wrong(format!("must be a URL such as \"{example}\", is {text:?}"));
        };
        if !schemes.contains(&scheme) {
            let known = known_words(schemes.iter().copied());
            let choice = if schemes.len() == 1 { "must be" } else { "must be one of" };
            let meant = nearest(scheme, schemes.iter().copied());
            let meant = meant.map_or(String::new(), |meant| format!("; did you mean `{meant}`?"));
            return self.wrong(format!("the scheme {choice} {known}, is `{scheme}`{meant}"));
        }
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(error) => {
                return self
                    .wrong(format!("must be a URL such as \"{example}\", is {text:?}: {error}"));
            }
        };
        if authority.is_empty() || url.host_str().is_none_or(str::is_empty) {
            return self.wrong(format!("must name a host, as in \"{example}\", is {text:?}"));
        }
        if url.fragment().is_some() {
            return self.wrong("must not have a fragment (`#...`): it would not be sent");
        }
        Some(url)
    }
}
