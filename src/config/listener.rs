//! Addresses that sources listen on.

use toml::de::DeValue;

use super::reader::Value;
use super::{Listener, TlsServer};

/// The addresses of a source, as people read them.
#[must_use]
pub fn addresses(listeners: &[Listener]) -> String {
    let addresses: Vec<_> = listeners.iter().map(|one| one.address.to_string()).collect();
    addresses.join(", ")
}

impl Value<'_> {
    /// `"ADDRESS:PORT"` or `{ address = "ADDRESS:PORT", tls = { .. } }`
    pub(super) fn listener(&self) -> Option<Listener> {
        if matches!(self.content, DeValue::String(_)) {
            return Some(Listener { address: self.socket_address()?, tls: None });
        }
        let mut table = self.table()?;
        let address = table.require("address", "\"0.0.0.0:8883\"");
        let address = address.and_then(|value| value.socket_address());
        let tls = match table.get("tls") {
            None => None,
            Some(value) => Some(value.tls_server()?),
        };
        table.finish();
        Some(Listener { address: address?, tls })
    }

    fn tls_server(&self) -> Option<TlsServer> {
        let mut table = self.table()?;
        let nothing = !table.has("cert_file") && !table.has("key_file");
        let identity = table.tls_identity();
        let client_ca_file = table.get("client_ca_file").map(|value| value.certificates());
        table.finish();
        if nothing {
            return self.wrong("needs `cert_file` and `key_file`");
        }
        let client_ca_file = match client_ca_file {
            None => None,
            Some(file) => Some(file?),
        };
        Some(TlsServer { identity: identity?, client_ca_file })
    }
}
