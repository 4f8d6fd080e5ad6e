//! Takes records out of a queue and brings them to an HTTP service.
//!
//! A record leaves its queue only after a success answer, or when its dead letter is durable. Until then it is sent
//! again, with the same id, for as long as it takes: with a growing delay while that may help, slowly where somebody has
//! to mend something first. A record becomes a dead letter only when the service takes others and will not have this
//! one, or by a limit that the operator named.
//!
//! `core` decides and `worker` waits. The answer's meaning is `outcome`'s, the search for a guilty record `lot`'s, the
//! size of batches `size`'s, the waiting times are `retry`'s, the order is `window`'s, the bytes are `request`'s, the
//! socket is `client`'s.

mod batch;
mod client;
mod core;
mod health;
mod lot;
mod outcome;
mod preview;
mod probe;
mod request;
mod retry;
mod size;
mod steering;
mod telling;
mod window;
mod worker;

#[cfg(test)]
mod tests;

pub use client::Client;
pub use health::{SinkHealth, SinkState, SinkStatus};
pub use preview::{Preview, preview};
pub use probe::{Probe, Sample, probe};
pub use worker::{SinkContext, run};
