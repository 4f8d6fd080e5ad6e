//! Which version of MQTT to speak next. Pure.

use super::failure::FailureKind;
use super::wire::Version;
use crate::config::MqttProtocol;

/// Times in a row that MQTT 5 must go unanswered before 3.1.1 is tried: once is what any restart looks like.
const UNANSWERED_MAX: u32 = 2;

/// MQTT 5 first, and 3.1.1 when the broker refuses it, so that an outage alone never ends in the older version.
#[derive(Debug)]
pub(super) struct Choice {
    protocol: MqttProtocol,
    /// What the broker last spoke.
    spoken: Option<Version>,
    next: Version,
    /// Attempts with MQTT 5 since the last CONNACK that ended without one.
    unanswered: u32,
}

impl Choice {
    pub(super) fn new(protocol: MqttProtocol) -> Self {
        let mut choice = Self { protocol, spoken: None, next: Version::V5, unanswered: 0 };
        choice.next = choice.first();
        choice
    }

    /// The version of the next attempt.
    pub(super) fn next(&self) -> Version {
        self.next
    }

    /// Notes a connection that the broker accepted and that has ended.
    pub(super) fn accepted(&mut self) {
        self.spoken = Some(self.next);
        self.unanswered = 0;
        self.next = self.first();
    }

    /// Notes an attempt without CONNACK. `true` when another version is worth trying at once.
    pub(super) fn failed(&mut self, kind: FailureKind) -> bool {
        let falls_back = self.protocol == MqttProtocol::Auto
            && self.next == Version::V5
            && match kind {
                FailureKind::VersionRefused => true,
                FailureKind::ClosedUnanswered => {
                    self.unanswered += 1;
                    match self.spoken {
                        // It has spoken MQTT 5: this is an outage.
                        Some(Version::V5) => false,
                        Some(Version::V311) => true,
                        None => self.unanswered >= UNANSWERED_MAX,
                    }
                }
                _ => false,
            };
        self.next = if falls_back { Version::V311 } else { self.first() };
        falls_back
    }

    /// Whether MQTT 5 went unanswered and may just have met a broker that was starting.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.unanswered > 0 && self.unanswered < UNANSWERED_MAX && self.next == Version::V5
    }

    fn first(&self) -> Version {
        match self.protocol {
            MqttProtocol::Auto | MqttProtocol::V5 => Version::V5,
            MqttProtocol::V311 => Version::V311,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_mqtt_5_is_followed_by_3_1_1_at_once_and_by_mqtt_5_next_time() {
        let mut choice = Choice::new(MqttProtocol::Auto);
        assert_eq!(choice.next(), Version::V5);
        assert!(choice.failed(FailureKind::VersionRefused));
        assert_eq!(choice.next(), Version::V311);
        choice.accepted();
        assert_eq!(choice.next(), Version::V5, "the broker may have been upgraded");
    }

    #[test]
    fn an_outage_never_ends_in_the_older_version() {
        let mut choice = Choice::new(MqttProtocol::Auto);
        choice.accepted();
        for _ in 0..10 {
            for kind in [
                FailureKind::ClosedUnanswered,
                FailureKind::Unreachable,
                FailureKind::Silent,
                FailureKind::NotAuthorized,
            ] {
                assert!(!choice.failed(kind), "{kind:?}");
                assert_eq!(choice.next(), Version::V5, "{kind:?}");
            }
        }
    }

    #[test]
    fn a_broker_that_only_hangs_up_on_mqtt_5_is_tried_with_3_1_1_the_second_time() {
        let mut choice = Choice::new(MqttProtocol::Auto);
        assert!(!choice.failed(FailureKind::ClosedUnanswered));
        assert!(choice.failed(FailureKind::ClosedUnanswered));
        assert_eq!(choice.next(), Version::V311);
        choice.accepted();
        assert!(choice.failed(FailureKind::ClosedUnanswered), "known to speak 3.1.1");
    }

    #[test]
    fn a_configured_version_is_the_only_one() {
        for (protocol, version) in
            [(MqttProtocol::V5, Version::V5), (MqttProtocol::V311, Version::V311)]
        {
            let mut choice = Choice::new(protocol);
            for _ in 0..5 {
                assert!(!choice.failed(FailureKind::VersionRefused));
                assert!(!choice.failed(FailureKind::ClosedUnanswered));
                assert_eq!(choice.next(), version);
            }
        }
    }
}
