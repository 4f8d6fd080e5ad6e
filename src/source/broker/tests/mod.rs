//! A real broker on a real socket; what the rest of Waypost does with an event is in the test's hands.

mod access;
mod client;
mod custody;
mod events;
mod front;
mod mosquitto;
mod subscribers;
mod tls;
mod trouble;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Broker;
use crate::config::{BrokerSource, Listener};
use crate::event::{EventKind, MessageIds};
use crate::metrics::Metrics;
use crate::name::SourceName;
use crate::source::{Incoming, Intake, Problem, SourceContext, SourceHealth, Wanted};
use crate::topic::TopicFilter;

pub(super) use self::client::packet;

/// A broker that serves, and the other end of its intake.
struct Running {
    address: SocketAddr,
    /// Where the broker itself listens, behind the front.
    inner: SocketAddr,
    incoming: mpsc::Receiver<Incoming>,
    context: SourceContext,
    task: JoinHandle<()>,
}

impl Running {
    /// On loopback, open to everybody, every message wanted.
    async fn start() -> Self {
        Self::with(config(), &["#"]).await
    }

    async fn with(config: BrokerSource, subscriptions: &[&str]) -> Self {
        let (context, incoming) = context(subscriptions);
        Self::serve(config, context, incoming).await
    }

    /// Open to everybody, every message and these kinds of event wanted.
    async fn telling(kinds: &[EventKind]) -> Self {
        let (mut context, incoming) = context(&["#"]);
        let mut wanted = context.wanted.borrow().clone();
        wanted.kinds.extend(kinds);
        context.wanted = tokio::sync::watch::Sender::new(wanted).subscribe();
        Self::serve(config(), context, incoming).await
    }

    async fn serve(
        config: BrokerSource,
        context: SourceContext,
        incoming: mpsc::Receiver<Incoming>,
    ) -> Self {
        let broker = Broker::bind(context.clone(), &config).await.unwrap();
        let (address, inner) = (broker.addresses()[0], broker.inner_address());
        let task = tokio::spawn(broker.run());
        Self { address, inner, incoming, context, task }
    }

    /// The next event that reaches the intake.
    async fn next(&mut self) -> Incoming {
        let next = tokio::time::timeout(client::PATIENCE, self.incoming.recv()).await;
        next.expect("an event reaches the intake in time").expect("the broker runs")
    }

    /// Accepts custody of everything from now on and gives the events.
    fn accept_all(&mut self) -> mpsc::Receiver<Arc<crate::event::Event>> {
        let (_, nobody) = mpsc::channel(1);
        let mut incoming = std::mem::replace(&mut self.incoming, nobody);
        let (sender, events) = mpsc::channel(100_000);
        tokio::spawn(async move {
            while let Some(Incoming { event, custody, .. }) = incoming.recv().await {
                sender.send(event).await.ok();
                custody.accept();
            }
        });
        events
    }

    /// How often `problem` was counted.
    fn problems(&self, problem: Problem) -> u64 {
        self.context.health.metrics.problem(problem.reason()).get()
    }

    async fn until(&self, condition: impl Fn() -> bool) {
        until(condition).await;
    }

    async fn stop(self) {
        self.context.stop.cancel();
        self.task.await.unwrap();
    }
}

/// Returns once `condition` holds.
async fn until(condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(client::PATIENCE, holds).await.expect("the condition holds in time");
}

fn config() -> BrokerSource {
    BrokerSource {
        listeners: vec![Listener { address: "127.0.0.1:0".parse().unwrap(), tls: None }],
        users: Vec::new(),
        allow_anonymous: false,
        access: Vec::new(),
        packet_bytes_max: NonZeroU32::new(1 << 20).unwrap(),
        connections_max: NonZeroUsize::new(1000).unwrap(),
        retained_messages_max: 1000,
    }
}

pub(super) fn context(subscriptions: &[&str]) -> (SourceContext, mpsc::Receiver<Incoming>) {
    let name = SourceName::new("devices").unwrap();
    let (intake, incoming) = Intake::bounded(NonZeroUsize::new(16 << 20).unwrap());
    let metrics = Metrics::new().source(&name, &Problem::ALL.map(Problem::reason));
    let context = SourceContext {
        name: name.clone(),
        wanted: tokio::sync::watch::Sender::new(Wanted {
            topics: subscriptions.iter().map(|text| TopicFilter::new(text).unwrap()).collect(),
            kinds: vec![EventKind::MessagePublish],
        })
        .subscribe(),
        intake,
        ids: Arc::new(MessageIds::new()),
        health: Arc::new(SourceHealth::new(name, metrics)),
        tail: crate::tail::Tail::default(),
        stop: CancellationToken::new(),
    };
    (context, incoming)
}
