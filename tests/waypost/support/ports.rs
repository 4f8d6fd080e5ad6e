//! Ports for what the tests start; the tests inside of the crate use it, too.

use std::sync::atomic::{AtomicU32, Ordering};

/// A loopback port that is free at the moment. None is given twice, and none that the system gives to outgoing
/// connections.
#[must_use]
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const PORTS: u32 = 22_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        // Not where another run of the tests has just been.
        let number = std::process::id() * 97 + GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + number % PORTS).unwrap();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
