//! Tests that drive the real binary, with real brokers, real HTTP and a real disk.

#![expect(
    clippy::unwrap_used,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::float_cmp,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::naive_bytecount,
    clippy::needless_raw_string_hashes,
    clippy::format_push_string,
    unreachable_pub,
    reason = "a test that cannot go on has failed"
)]

mod support;

mod architecture;
mod bodies;
mod broken_deploys;
mod brokers;
mod command_line;
mod confirmations;
mod custody;
mod dead_letters;
mod deploy;
mod devices;
mod events;
mod events_of_devices;
mod events_of_drops;
mod exporter;
mod first_steps;
mod full_disk;
mod fuzz;
mod hooks;
mod imports;
mod imports_as_found;
mod machine;
mod overload;
mod patience;
mod poison;
mod presence;
mod probe;
mod queues;
mod receivers;
mod receivers_page;
mod reload;
mod requests;
mod rules;
mod schema;
mod seeds;
mod source_troubles;
mod sources;
mod starting;
mod status;
mod statuses;
mod steering;
mod suggestions;
mod supervision;
mod tail;
mod tutorial;
mod uplinks;
mod vectors;
