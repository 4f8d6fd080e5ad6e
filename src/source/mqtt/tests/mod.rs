//! The source against a real Mosquitto, and against a scripted peer where Mosquitto is too well-behaved.

mod mosquitto;
mod rig;
mod with_mosquitto;
