//! Functions of EMQX that a gateway does not have, each with its reason, told when a rule is loaded.

/// Names, or beginnings of names that end in `*`, and why.
const UNAVAILABLE: &[(&str, &str)] = &[
    ("contains_topic", LISTS),
    ("contains_topic_match", LISTS),
    ("schema_check", SCHEMAS),
    ("schema_decode", SCHEMAS),
    ("schema_encode", SCHEMAS),
    ("schema_encode_and_tag", SCHEMAS),
    ("avro_decode", SCHEMAS),
    ("avro_encode", SCHEMAS),
    ("sparkplug_*", SCHEMAS),
    ("spb_*", SCHEMAS),
];

const LISTS: &str = "it searches the subscription lists of EMQX's own hooks, which no event here has; \
                     to test a topic write `topic =~ 'FILTER'`";
const SCHEMAS: &str = "it needs the schema registry of EMQX Enterprise; send the payload on as it is, \
                       or as `base64_encode(payload)`, and decode it at the receiver";

/// Every function of EMQX that is not available, with the reason: what the reference lists.
pub(super) const fn all() -> &'static [(&'static str, &'static str)] {
    UNAVAILABLE
}

/// Why a function of EMQX does not exist here; `None` for names that EMQX does not have either.
#[must_use]
pub fn why_unavailable(name: &str) -> Option<&'static str> {
    let is = |known: &str| match known.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == known,
    };
    UNAVAILABLE.iter().find(|(known, _)| is(known)).map(|(_, reason)| *reason)
}
