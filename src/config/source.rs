//! `[sources.NAME]`

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use super::reader::{Table, Value};
use super::{Source, http, mqtt};
use crate::name::SourceName;

/// MQTT's own limit is 256 MiB; a packet is held in memory whole.
const PACKET_BYTES_MAX: u64 = 16 << 20;
const PACKET_BYTES: NonZeroU32 = NonZeroU32::new(1 << 20).expect("not zero");

#[derive(Clone, Copy)]
enum Kind {
    Mqtt,
    Broker,
    Http,
}

pub(super) fn sources(root: &mut Table<'_>) -> BTreeMap<SourceName, Source> {
    let there = root.has("sources");
    let tables = root.table("sources");
    let mut sources = BTreeMap::new();
    for (name, value) in tables.entries() {
        let name = value.name(name, SourceName::new);
        let source = value.table().and_then(source);
        if let (Some(name), Some(source)) = (name, source) {
            sources.insert(name, source);
        }
    }
    if !there || tables.entries().next().is_none() {
        root.reader.problem(
            "sources",
            None,
            "there is none, so nothing would be received; for example a table `[sources.local]` with \
             `type = \"mqtt\"` and `url = \"mqtt://127.0.0.1:1883\"`",
        );
    }
    sources
}

fn source(mut table: Table<'_>) -> Option<Source> {
    let kind = table.require("type", "\"mqtt\"")?;
    let source = match kind.word(&[
        ("mqtt", Kind::Mqtt),
        ("broker", Kind::Broker),
        ("http", Kind::Http),
    ])? {
        Kind::Mqtt => mqtt::source(&mut table).map(|source| Source::Mqtt(Box::new(source))),
        Kind::Http => http::source(&mut table).map(Source::Http),
        #[cfg(feature = "broker")]
        Kind::Broker => super::broker::source(&mut table).map(Source::Broker),
        #[cfg(not(feature = "broker"))]
        Kind::Broker => {
            return kind.wrong(
                "this build has no embedded broker; build Waypost with its cargo feature `broker`, or subscribe to a \
                 broker with `type = \"mqtt\"`",
            );
        }
    };
    table.finish();
    source
}

impl Value<'_> {
    /// The name of a table that is called by the operator's choice.
    pub(super) fn name<N, E: std::fmt::Display>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<N, E>,
    ) -> Option<N> {
        match parse(name) {
            Ok(name) => Some(name),
            Err(error) => self.wrong(format!("the name {error}")),
        }
    }
}

impl Table<'_> {
    /// `max_packet_bytes`
    pub(super) fn packet_bytes_max(&mut self) -> NonZeroU32 {
        self.or("max_packet_bytes", PACKET_BYTES, |value| {
            let bytes = value.size(1024..=PACKET_BYTES_MAX)?;
            NonZeroU32::new(u32::try_from(bytes).ok()?)
        })
    }
}
