//! Tells systemd how it goes, where systemd started us: `sd_notify(3)`, a datagram to the socket that it names.
//!
//! `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` are systemd's side of the contract and change nothing of what is
//! done. Nobody is waited for, and what cannot be told is not told.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The way to the service manager; tells nobody where there is none. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Notifier {
    to: Option<Arc<(UnixDatagram, SocketAddr)>>,
}

impl Notifier {
    /// As the environment says.
    pub(super) fn from_environment() -> Self {
        let to = std::env::var_os("NOTIFY_SOCKET").and_then(|name| {
            let address = match name.as_bytes() {
                [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok()?,
                _ => SocketAddr::from_pathname(&name).ok()?,
            };
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_nonblocking(true).ok()?;
            Some(Arc::new((socket, address)))
        });
        Self { to }
    }

    fn tell(&self, state: &str) {
        if let Some((socket, address)) = self.to.as_deref() {
            // A manager that does not listen misses it.
            drop(socket.send_to_addr(state.as_bytes(), address));
        }
    }

    /// Everything runs: events are taken and made durable, or dealt with as the operator's policies say.
    pub(super) fn ready(&self) {
        self.tell("READY=1");
    }

    /// The config is read again; ends with [`Self::ready`].
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// It stops.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// The start takes up to `period` longer, and why.
    pub(super) fn starting_takes(&self, period: Duration, why: &str) {
        self.tell(&format!("EXTEND_TIMEOUT_USEC={}\nSTATUS={why}", period.as_micros()));
    }

    /// One line for `systemctl status`.
    pub(super) fn status(&self, line: &str) {
        self.tell(&format!("STATUS={line}"));
    }

    /// All that must go round has gone round.
    pub(super) fn watchdog(&self) {
        self.tell("WATCHDOG=1");
    }
}

/// How long the service manager waits for a sign of life; `None` where it does not.
pub(super) fn watchdog_period() -> Option<Duration> {
    let of_us =
        std::env::var("WATCHDOG_PID").map_or(true, |pid| pid.parse() == Ok(std::process::id()));
    let micros: u64 = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (of_us && micros > 0).then(|| Duration::from_micros(micros))
}
