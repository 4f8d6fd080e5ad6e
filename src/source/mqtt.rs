//! MQTT client source.
