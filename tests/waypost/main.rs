//! Tests that drive the real binary, with real brokers, real HTTP and a real disk.

#![expect(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "a test that cannot go on has failed"
)]

mod support;

mod first_steps;
