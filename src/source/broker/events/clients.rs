//! Who is connected and who has a session, so that a client's events leave in order and none is left open: a client that
//! comes again is told of once its last connection has been.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Longest wait for the end of a client's last connection to be told: it may have a will to store first.
const ENDING_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Clients(Mutex<HashMap<String, Known>>);

#[derive(Debug, Default)]
struct Known {
    /// The token of its connection, and the news of its end.
    online: Option<(SocketAddr, CancellationToken)>,
    /// Whoever comes next wants no earlier session.
    next_is_clean: bool,
    has_session: bool,
}

impl Clients {
    /// A client is let in that may have another connection.
    pub(super) fn arrives(&self, client_id: &str, clean_start: bool) {
        if let Some(known) = self.lock().get_mut(client_id) {
            known.next_is_clean = clean_start;
        }
    }

    /// EMQX's word for the end of a connection whose client came again.
    pub(super) fn kicked(&self, client_id: &str) -> &'static str {
        let clean = self.lock().get(client_id).is_some_and(|known| known.next_is_clean);
        if clean { "discarded" } else { "takenover" }
    }

    /// Waits until the end of the client's last connection has been told; `false` when that takes too long.
    pub(super) async fn earlier_has_ended(&self, client_id: &str, token: SocketAddr) -> bool {
        let earlier = self.lock().get(client_id).and_then(|known| known.online.clone());
        match earlier {
            Some((other, ended)) if other != token => {
                tokio::time::timeout(ENDING_MAX, ended.cancelled()).await.is_ok()
            }
            _ => true,
        }
    }

    /// Notes a connection.
    pub(super) fn connected(&self, client_id: &str, token: SocketAddr) {
        let mut known = self.lock();
        let known = known.entry(client_id.to_owned()).or_default();
        known.online = Some((token, CancellationToken::new()));
    }

    /// Whether this is the client's connection still.
    pub(super) fn is_connected(&self, client_id: &str, token: SocketAddr) -> bool {
        let known = self.lock();
        let online = known.get(client_id).and_then(|known| known.online.as_ref());
        online.is_some_and(|(mine, _)| *mine == token)
    }

    /// Notes that the end of a connection has been told.
    pub(super) fn disconnected(&self, client_id: &str, token: SocketAddr) {
        let mut all = self.lock();
        let Some(known) = all.get_mut(client_id) else { return };
        if let Some((_, ended)) = known.online.take_if(|(mine, _)| *mine == token) {
            ended.cancel();
        }
        if known.online.is_none() && !known.has_session {
            all.remove(client_id);
        }
    }

    /// Notes a new session; `true` when it takes the place of another.
    pub(super) fn session_begins(&self, client_id: &str) -> bool {
        let mut known = self.lock();
        let known = known.entry(client_id.to_owned()).or_default();
        std::mem::replace(&mut known.has_session, true)
    }

    /// Notes the end of a session.
    pub(super) fn session_ends(&self, client_id: &str) {
        let mut all = self.lock();
        let Some(known) = all.get_mut(client_id) else { return };
        known.has_session = false;
        if known.online.is_none() {
            all.remove(client_id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
