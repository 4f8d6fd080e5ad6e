//! A source under test: its config, its task, and the receiving end of its intake.

use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{MqttProtocol, MqttSource, MqttTransport, TlsClient};
use crate::event::{Event, EventKind, MessageIds, Qos};
use crate::metrics::Metrics;
use crate::name::SourceName;
use crate::source::{Incoming, Intake, Problem, SourceContext, SourceHealth, SourceState, Wanted};
use crate::store::{PresenceNote, SessionNote};
use crate::topic::TopicFilter;

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what must happen, and says what did not.
#[track_caller]
pub(super) fn within<T>(what: &str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        tokio::time::timeout(PATIENCE, future)
            .await
            .unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what} ({place})"))
    }
}

pub(super) fn config(port: u16, protocol: MqttProtocol) -> MqttSource {
    MqttSource {
        transport: MqttTransport::Tcp,
        host: "127.0.0.1".to_owned(),
        port,
        protocol,
        client_id: None,
        username: None,
        password: None,
        tls: TlsClient::default(),
        keep_alive: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        session_expiry: Duration::from_hours(1),
        receive_maximum: NonZeroU16::new(100).unwrap(),
        packet_bytes_max: NonZeroU32::new(256 * 1024).unwrap(),
        qos_max: Qos::AtLeastOnce,
        events: None,
    }
}

/// A running source.
pub(super) struct Rig {
    pub(super) health: Arc<SourceHealth>,
    pub(super) incoming: mpsc::Receiver<Incoming>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    _data_dir: TempDir,
}

impl Rig {
    pub(super) fn start(config: MqttSource, filters: &[&str]) -> Self {
        Self::start_with_intake(config, filters, 16 << 20)
    }

    pub(super) fn start_with_intake(
        config: MqttSource,
        filters: &[&str],
        intake_bytes_max: usize,
    ) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let (intake, incoming) = Intake::bounded(NonZeroUsize::new(intake_bytes_max).unwrap());
        let name = SourceName::new("plant").unwrap();
        let reasons = Problem::ALL.map(Problem::reason);
        let metrics = Metrics::new().source(&name, &reasons);
        let health = Arc::new(SourceHealth::new(name.clone(), metrics));
        let stop = CancellationToken::new();
        let context = SourceContext {
            name,
            wanted: tokio::sync::watch::Sender::new(Wanted {
                topics: filters.iter().map(|text| TopicFilter::new(text).unwrap()).collect(),
                kinds: vec![EventKind::MessagePublish],
            })
            .subscribe(),
            intake,
            ids: Arc::new(MessageIds::new()),
            health: health.clone(),
            tail: crate::tail::Tail::default(),
            stop: stop.clone(),
        };
        let notes = (
            SessionNote::of(data_dir.path(), &context.name),
            PresenceNote::of(data_dir.path(), &context.name),
        );
        let default_client_id = "waypost-under-test".to_owned();
        let task = tokio::spawn(super::super::run(context, config, default_client_id, notes));
        Self { health, incoming, stop, task, _data_dir: data_dir }
    }

    /// Waits for the state to be as wanted.
    #[track_caller]
    pub(super) fn until(
        &self,
        what: &str,
        wanted: impl Fn(&SourceState) -> bool,
    ) -> impl Future<Output = SourceState> {
        let health = self.health.clone();
        let what = what.to_owned();
        let place = std::panic::Location::caller();
        async move {
            let asked = Instant::now();
            loop {
                let (state, _) = health.state();
                if wanted(&state) {
                    return state;
                }
                assert!(asked.elapsed() < PATIENCE, "not {what}, but {state:?} ({place})");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    #[track_caller]
    pub(super) fn connected(&self) -> impl Future<Output = SourceState> {
        self.until("connected", |state| *state == SourceState::Connected)
    }

    /// The text of the state once it is disconnected.
    #[track_caller]
    pub(super) fn disconnected(&self) -> impl Future<Output = String> {
        let state =
            self.until("disconnected", |state| matches!(state, SourceState::Disconnected(_)));
        async { state.await.detail().unwrap().to_owned() }
    }

    pub(super) async fn next(&mut self) -> Incoming {
        within("an event arrives", self.incoming.recv()).await.expect("the source runs")
    }

    /// Takes the next event and accepts it.
    pub(super) async fn accept(&mut self) -> Arc<Event> {
        let incoming = self.next().await;
        incoming.custody.accept();
        incoming.event
    }

    /// Takes and accepts `count` events; gives their payloads.
    pub(super) async fn accept_payloads(&mut self, count: usize) -> Vec<String> {
        let mut payloads = Vec::new();
        for _ in 0..count {
            let event = self.accept().await;
            payloads.push(text(&event));
        }
        payloads
    }

    pub(super) fn problems(&self, problem: Problem) -> u64 {
        self.health.metrics.problem(problem.reason()).get()
    }

    /// Stops the source, which must not take long.
    pub(super) async fn stop(self) -> Duration {
        let asked = Instant::now();
        self.stop.cancel();
        within("the source stops", self.task).await.unwrap();
        assert_eq!(self.health.state().0, SourceState::Stopped);
        asked.elapsed()
    }

    /// Ends the source as a kill of the process would.
    pub(super) async fn kill(self) {
        self.task.abort();
        drop(self.task.await);
    }
}

pub(super) fn text(event: &Event) -> String {
    String::from_utf8(event.message().unwrap().payload.to_vec()).unwrap()
}

pub(super) fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("m{number}")).collect()
}
