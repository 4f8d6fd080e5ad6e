//! Who is connected to a broker, as far as it was told. Pure: no clock, no disk.
//!
//! While a source hears nothing its knowledge ages: [`Roll::lost`] says of everybody that he is gone, and what the broker tells
//! later corrects that. Bounded by a count and by bytes; who finds no place is not known, and counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::EventKind;
use crate::source::dialect::Said;

/// What all clients together may take in memory, however long their ids and names are.
const BYTES_MAX: usize = 16 << 20;
/// A client beside its texts.
const CLIENT_BYTES: usize = 256;
/// Why a client is reported as disconnected.
const SOURCE_LOST: &str = "source_lost";

/// A client that has connected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Client {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    peername: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proto_ver: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connected_at: Option<u64>,
    /// It was reported as disconnected because the source lost sight of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_lost: bool,
}

/// Clients by their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Roll {
    clients: BTreeMap<String, Client>,
    #[serde(skip)]
    bytes: usize,
}

/// What follows from an event.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Noted {
    /// Nothing but itself.
    AsTold,
    /// This was wrongly told to be over, and has to be said first.
    Corrected(Said),
    /// There is no place for the client.
    Full,
}

impl Roll {
    /// A roll that was kept, with what it takes counted anew.
    pub(super) fn counted(mut self) -> Self {
        self.bytes = self.clients.iter().map(|(id, client)| bytes(id, client)).sum();
        self
    }

    /// Notes what a broker says of a client.
    pub(super) fn note(&mut self, said: &Said, clients_max: usize) -> Noted {
        let Some(id) = said.text("clientid") else { return Noted::AsTold };
        match said.kind {
            EventKind::ClientConnected => self.enter(id, Client::of(said), clients_max),
            EventKind::ClientDisconnected => {
                if let Some(client) = self.clients.remove(id) {
                    self.bytes = self.bytes.saturating_sub(bytes(id, &client));
                }
                Noted::AsTold
            }
            EventKind::SessionSubscribed
            | EventKind::SessionUnsubscribed
            | EventKind::ClientSubscribe
            | EventKind::ClientUnsubscribe
            | EventKind::ClientPing => self.seen(id, clients_max),
            _ => Noted::AsTold,
        }
    }

    /// A client does what only connected clients do.
    fn seen(&mut self, id: &str, clients_max: usize) -> Noted {
        match self.clients.get_mut(id) {
            Some(client) if client.is_lost => {
                client.is_lost = false;
                Noted::Corrected(client.said(EventKind::ClientConnected, id))
            }
            Some(_) => Noted::AsTold,
            None => self.enter(id, Client::default(), clients_max),
        }
    }

    fn enter(&mut self, id: &str, client: Client, clients_max: usize) -> Noted {
        let before = self.clients.get(id).map_or(0, |client| bytes(id, client));
        let after = self.bytes - before + bytes(id, &client);
        if before == 0 && self.clients.len() >= clients_max || after > BYTES_MAX {
            return Noted::Full;
        }
        self.bytes = after;
        self.clients.insert(id.to_owned(), client);
        Noted::AsTold
    }

    /// Everybody who is connected as far as is known, as disconnected.
    pub(super) fn losses(&self) -> Vec<Said> {
        let connected = self.clients.iter().filter(|(_, client)| !client.is_lost);
        let gone = |(id, client): (&String, &Client)| {
            let mut said = client.said(EventKind::ClientDisconnected, id);
            said.set("reason", Some(SOURCE_LOST));
            said
        };
        connected.map(gone).collect()
    }

    /// Notes that `losses` were told.
    pub(super) fn lost(&mut self, losses: &[String]) {
        for id in losses {
            if let Some(client) = self.clients.get_mut(id) {
                client.is_lost = true;
            }
        }
    }
}

impl Client {
    fn of(said: &Said) -> Self {
        let text = |column| said.text(column).map(str::to_owned);
        let number = |column: &str| said.columns.get(column).and_then(serde_json::Value::as_u64);
        Self {
            username: text("username"),
            peername: text("peername"),
            proto_ver: number("proto_ver"),
            connected_at: number("connected_at"),
            is_lost: false,
        }
    }

    fn said(&self, kind: EventKind, id: &str) -> Said {
        let mut said = Said::new(kind);
        said.set("clientid", Some(id));
        said.set("username", self.username.clone());
        said.set("peername", self.peername.clone());
        said.set("proto_ver", self.proto_ver);
        said.set("connected_at", self.connected_at);
        said
    }
}

fn bytes(id: &str, client: &Client) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    CLIENT_BYTES + id.len() + text(&client.username) + text(&client.peername)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(kind: EventKind, id: &str) -> Said {
        let mut said = Said::new(kind);
        said.set("clientid", Some(id));
        said
    }

    fn ids(losses: &[Said]) -> Vec<String> {
        losses.iter().map(|said| said.text("clientid").unwrap().to_owned()).collect()
    }

    #[test]
    fn a_client_that_was_lost_is_corrected_by_what_only_connected_clients_do() {
        let mut roll = Roll::default();
        let mut connected = said(EventKind::ClientConnected, "a");
        connected.set("username", Some("u"));
        connected.set("connected_at", Some(7));
        assert_eq!(roll.note(&connected, 10), Noted::AsTold);
        roll.note(&said(EventKind::ClientConnected, "b"), 10);
        roll.note(&said(EventKind::ClientDisconnected, "b"), 10);
        roll.note(&said(EventKind::SessionSubscribed, "c"), 10);

        let losses = roll.losses();
        assert_eq!(ids(&losses), ["a", "c"], "who is known as connected");
        assert_eq!(losses[0].kind, EventKind::ClientDisconnected);
        assert_eq!(losses[0].text("reason"), Some("source_lost"));
        assert_eq!(losses[0].text("username"), Some("u"));
        roll.lost(&ids(&losses));
        assert_eq!(roll.losses(), [], "once");

        let subscribed = said(EventKind::SessionSubscribed, "a");
        assert_eq!(roll.note(&subscribed, 10), Noted::Corrected(connected));
        assert_eq!(roll.note(&subscribed, 10), Noted::AsTold, "once");
        // The truth about another one comes by itself.
        assert_eq!(roll.note(&said(EventKind::ClientDisconnected, "c"), 10), Noted::AsTold);
        assert_eq!(ids(&roll.losses()), ["a"]);
    }

    #[test]
    fn the_number_of_clients_and_their_bytes_are_bounded() {
        let mut roll = Roll::default();
        for index in 0..3 {
            roll.note(&said(EventKind::ClientConnected, &index.to_string()), 3);
        }
        assert_eq!(roll.note(&said(EventKind::ClientConnected, "3"), 3), Noted::Full);
        assert_eq!(roll.note(&said(EventKind::ClientConnected, "0"), 3), Noted::AsTold, "again");
        roll.note(&said(EventKind::ClientDisconnected, "0"), 3);
        assert_eq!(roll.note(&said(EventKind::ClientConnected, "3"), 3), Noted::AsTold);

        let mut roll = Roll::default();
        let long = |index: u32| format!("{index:03}{}", "x".repeat(1 << 20));
        let taken = (0..20).take_while(|index| {
            roll.note(&said(EventKind::ClientConnected, &long(*index)), 100) == Noted::AsTold
        });
        assert_eq!(taken.count(), 15, "of a MiB each");
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_was_known(events in proptest::collection::vec((0..4_usize, "[a-d]"), 0..40)) {
            let kinds = [
                EventKind::ClientConnected,
                EventKind::ClientDisconnected,
                EventKind::SessionSubscribed,
                EventKind::MessagePublish,
            ];
            let mut roll = Roll::default();
            for (kind, id) in events {
                roll.note(&said(kinds[kind], &id), 3);
                let kept = serde_json::to_string(&roll).unwrap();
                let read: Roll = serde_json::from_str(&kept).unwrap();
                prop_assert_eq!(read.counted(), roll.clone());
            }
        }
    }
}
