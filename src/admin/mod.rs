//! What a running Waypost says of itself and lets be done with it: the admin API on a Unix socket, and the exporter on TCP.
//!
//! Each area has a file with its types, which server and client share and which are the JSON that commands print, and
//! its `routes`. The socket answers local users that the file system lets in; the exporter has nothing secret and nothing
//! that changes anything.

pub mod client;
mod diagnosis;
pub mod letters;
pub mod queues;
mod refusal;
pub mod reload;
pub mod rules;
pub mod server;
pub mod sinks;
mod status;
pub mod tail;

pub use diagnosis::notes;
pub use refusal::Refusal;
pub use status::*;
