//! What the tests stand on: the binary under test, a Mosquitto, an HTTP service that misbehaves on request, and devices.

pub mod certificates;
pub mod device;
pub mod flask;
pub mod http;
pub mod http2;
pub mod link;
pub mod metrics;
pub mod mosquitto;
pub mod mqtt_js;
pub mod proxy;
pub mod sender;
pub mod sinks;
pub mod small_disk;
pub mod waypost;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a condition may take on a slow, busy machine before the test gives up on it.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Waits for `condition`; fails with `what` and the last state it told.
#[track_caller]
pub fn eventually<T: std::fmt::Debug>(
    what: &str,
    mut observe: impl FnMut() -> T,
    mut holds: impl FnMut(&T) -> bool,
) -> T {
    let started = Instant::now();
    loop {
        let state = observe();
        if holds(&state) {
            return state;
        }
        assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}; last: {state:?}");
        pause();
    }
}

/// Between two looks at a condition.
#[expect(
    clippy::disallowed_methods,
    reason = "polling a process from outside has nothing to await"
)]
pub fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// A loopback port that is free at the moment. None is given twice, and none that the system gives to outgoing
/// connections.
#[must_use]
pub fn free_port() -> u16 {
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
