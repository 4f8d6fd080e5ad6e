//! The source against a real Mosquitto, and against a scripted peer where Mosquitto is too well-behaved.

mod mosquitto;
mod peer;
mod rig;
mod scripted;
mod secure;
mod trouble;
mod with_mosquitto;

use crate::config::MqttProtocol;

/// Both versions of the protocol.
const BOTH: [MqttProtocol; 2] = [MqttProtocol::V5, MqttProtocol::V311];
