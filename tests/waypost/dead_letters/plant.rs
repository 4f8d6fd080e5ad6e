//! A gateway whose service refuses every third message.

use std::collections::BTreeSet;
use std::process::Output;
use std::time::Duration;

use regex::Regex;

use crate::support::device::Device;
use crate::support::http::{Reply, Request, Server};
use crate::support::waypost::Waypost;
use crate::support::{eventually, free_port};

/// Two sinks: `cloud` gets `t/#`, `other` what a rule in SQL makes of `sql/#`.
pub(super) struct Plant {
    pub(super) gateway: Waypost,
    pub(super) service: Server,
    port: u16,
}

/// The number of a message, where it has one.
pub(super) fn number(request: &Request) -> Option<u64> {
    let record = &request.records()[0];
    let payload = record["payload"].as_str().and_then(|text| serde_json::from_str(text).ok());
    payload.as_ref().unwrap_or(record)["n"].as_u64()
}

/// 422 for every third.
pub(super) fn refuse_some(request: &Request) -> Reply {
    let is_poison = number(request).is_some_and(|number| number % 3 == 1);
    Reply::Status(if is_poison { 422 } else { 200 })
}

impl Plant {
    pub(super) fn start() -> Self {
        let (service, port) = (Server::scripted(refuse_some), free_port());
        let gateway = Waypost::start(&Self::config(port, &service, &Self::cloud(&service)));
        Self { gateway, service, port }
    }

    fn config(port: u16, service: &Server, cloud: &str) -> String {
        format!(
            "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n{cloud}\
             [rules.pick]\nsql = 'SELECT payload.n AS n, clientid FROM \"sql/#\"'\nsinks = [\"other\"]\n\n\
             [sinks.other]\nurl = \"{}/other\"\nreject_storm = 1000\n",
            service.url()
        )
    }

    fn cloud(service: &Server) -> String {
        format!(
            "[webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}/cloud\"\nreject_storm = 100000\n\
             retry = {{ initial = \"50ms\", max = \"200ms\" }}\n\n",
            service.url()
        )
    }

    /// Starts again with a config that has no sink `cloud`.
    pub(super) fn restart_without_cloud(&mut self) {
        self.gateway.terminate();
        self.gateway.configure(&Self::config(self.port, &self.service, ""));
        self.gateway.launch();
    }

    pub(super) fn publish(&self, device: &str, count: u64) {
        self.publish_to(&format!("t/{device}"), device, count);
    }

    /// Publishes, and waits until all is acknowledged.
    #[track_caller]
    pub(super) fn publish_to(&self, topic: &str, device: &str, count: u64) {
        let device = Device::start(self.port, device, topic, count, Duration::ZERO);
        let all = |acknowledged: &usize| *acknowledged as u64 == count;
        eventually("all acknowledged", || device.acknowledged().len(), all);
        device.stop();
    }

    /// The id of a record.
    pub(super) fn id(&self, sink: &str, number: u64) -> String {
        format!("{}-{sink}-{number}", self.store_id())
    }

    fn store_id(&self) -> String {
        let identity = std::fs::read_to_string(self.gateway.data_dir().join("identity")).unwrap();
        identity.lines().next().unwrap().to_owned()
    }

    /// The ids of the requests that are wanted.
    pub(super) fn ids_of(&self, is_wanted: impl Fn(&Request) -> bool) -> BTreeSet<String> {
        let requests = self.service.requests().into_iter().filter(is_wanted);
        requests.map(|request| request.headers["webhook-id"].clone()).collect()
    }

    pub(super) fn refusals(&self) -> usize {
        self.service.requests().iter().filter(|request| !request.accepted).count()
    }

    /// How many dead letters there are, of all sinks and reasons.
    pub(super) fn letters(&self) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let letters = self.gateway.metrics().sum("waypost_dead_letters", "sink=") as u64;
        letters
    }

    /// Dead letters that went into queues again since the start.
    pub(super) fn replayed(&self) -> f64 {
        self.gateway.metrics().sum("waypost_records_replayed_total", "sink=")
    }

    /// Waits until there are so many dead letters and nothing is on its way.
    #[track_caller]
    pub(super) fn until_letters(&self, count: u64) {
        let waits = || {
            let metrics = self.gateway.metrics();
            (metrics.sum("waypost_queue_records", "sink="), self.letters())
        };
        eventually("dead letters", waits, |state| *state == (0.0, count));
    }

    /// `waypost dead-letter ...`
    pub(super) fn run(&self, arguments: &[&str]) -> Output {
        self.gateway.run(&[&["dead-letter"], arguments].concat())
    }

    /// The same as text, without what differs from run to run.
    pub(super) fn said(&self, arguments: &[&str]) -> String {
        self.clean(&said(&self.run(arguments)))
    }

    pub(super) fn clean(&self, text: &str) -> String {
        let mut text = text
            .replace(&self.gateway.directory().display().to_string(), "DIR")
            .replace(&self.store_id(), "a1b2c3d4e5f6");
        for (pattern, word) in [
            (r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2026-01-31T08:00:00Z"),
            (r#""id": ?"[0-9A-F]{32}""#, r#""id":"MESSAGE""#),
            (r#"(_at"|timestamp"):( ?)1\d{12}"#, "$1:${2}0"),
            (r"127\.0\.0\.1:\d+", "PEER"),
            (r"process \d+ \(.*\)", "process PID (COMMAND)"),
        ] {
            text = Regex::new(pattern).unwrap().replace_all(&text, word).into_owned();
        }
        text
    }
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(super) fn said(output: &Output) -> String {
    let code = output.status.code().unwrap();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    format!("exit {code}\n--- stdout\n{out}--- stderr\n{error}")
}
