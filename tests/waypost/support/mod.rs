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
mod ports;
pub mod proxy;
pub mod sender;
pub mod sinks;
pub mod small_disk;
pub mod terminal;
pub mod waypost;

use std::time::{Duration, Instant};

pub(crate) use ports::free_port;

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

/// Whether `condition` holds at a moment within `period` from now.
pub fn holds_within(period: Duration, condition: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    while !condition() {
        if started.elapsed() > period {
            return false;
        }
        pause();
    }
    true
}

/// Between two looks at a condition.
#[expect(
    clippy::disallowed_methods,
    reason = "polling a process from outside has nothing to await"
)]
pub fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
