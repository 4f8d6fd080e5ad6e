//! Waypost takes custody of MQTT messages on an edge gateway and delivers them to HTTP services over an uplink
//! that comes and goes. What was acknowledged to a device is delivered, or is in the dead letters with its reason, or was
//! dropped by a limit that the operator set and that counted it.
//!
//! `src/ARCHITECTURE.md` has the invariants, the flow of one event and the map of the modules.

#[cfg(feature = "broker")]
pub mod access;
pub mod admin;
pub mod allocator;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod delivery;
pub mod demo;
pub mod event;
pub mod import;
pub mod ingest;
pub mod metrics;
pub mod name;
pub mod password;
pub mod rule;
pub mod signature;
pub mod source;
pub mod steps;
pub mod store;
pub mod suggestion;
pub mod tail;
pub mod template;
pub mod tls;
pub mod topic;
pub mod units;
