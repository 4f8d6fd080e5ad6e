//! Tests that drive the real binary, with real brokers, real HTTP and a real disk.

#![expect(
    clippy::unwrap_used,
    clippy::as_conversions,
    clippy::float_cmp,
    reason = "a test that cannot go on has failed"
)]

#[allow(
    dead_code,
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::duration_suboptimal_units,
    clippy::format_push_string,
    reason = "helpers come before the tests that need them"
)]
mod support;

mod first_steps;
