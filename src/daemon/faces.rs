//! What is shown and to whom: the admin socket and the exporter.

use std::sync::Arc;

use tokio::sync::watch;

use super::drops::tell_drops;
use super::letters::letter_desk;
use super::look::look_on;
use super::orders::Orders;
use super::stage::Stage;
use super::status_event::tell_status;
use super::view::Watched;
use crate::admin::queues::Queues;
use crate::admin::server::{self, ListenError, Views};
use crate::config::Config;
use crate::event::EventKind;
use crate::metrics::{DeadLetterCounts, Metrics};
use crate::source::Intake;
use crate::store::{DeadLetterReason, Store};
use crate::tail::Tail;

/// Shows the counts of the queues and of the dead letters, of what runs at the moment of each scrape.
pub(super) fn show_metrics(metrics: &Metrics, live: &watch::Sender<Arc<Watched>>, store: &Store) {
    let watched = live.subscribe();
    metrics.register_queues(Arc::new(move || {
        let queues = &watched.borrow().queues;
        queues.iter().map(|(sink, queue)| (sink.clone(), queue.snapshot())).collect()
    }));
    let (watched, dead_letters) = (live.subscribe(), store.dead_letters().clone());
    metrics.register_dead_letters(Arc::new(move || {
        let mut snapshot = dead_letters.snapshot();
        for sink in watched.borrow().queues.keys() {
            let none = || DeadLetterCounts {
                letters: DeadLetterReason::ALL.map(|reason| (reason.label(), 0)).into(),
                ..DeadLetterCounts::default()
            };
            snapshot.sinks.entry(sink.clone()).or_insert_with(none);
        }
        snapshot
    }));
}

/// What the admin socket shows and does.
pub(super) fn views(
    config: &Config,
    metrics: &Arc<Metrics>,
    tail: &Tail,
    live: &watch::Sender<Arc<Watched>>,
    orders: &Orders,
    store: &Store,
) -> Views {
    let watched = || live.subscribe();
    let (for_status, for_rules, for_steering) = (watched(), watched(), watched());
    let (for_queues, for_left_over) = (watched(), watched());
    Views {
        metrics: Arc::clone(metrics),
        status: Arc::new(move || for_status.borrow().status()),
        rule: Arc::new(move |name| for_rules.borrow().rule_report(name)),
        steer: Arc::new(move |sink, command| {
            // It may block, and a reload does not wait for it.
            let watched = Arc::clone(&for_steering.borrow());
            watched.steer(sink, command)
        }),
        tail: tail.clone(),
        letters: letter_desk(config, store, live.subscribe()),
        queues: Queues {
            open: Arc::new(move || for_queues.borrow().queues.clone()),
            left_over: Arc::new(move || for_left_over.borrow().left_over.clone()),
            drop_left_over: orders.left_over_dropper(),
            data_dir: config.gateway.data_dir.clone(),
            node: config.gateway.name.as_str().into(),
            store_id: store.id().into(),
        },
        reloader: orders.reloader(),
    }
}

/// Opens the listening ends, and starts what looks on and tells of it.
pub(super) async fn start_faces(
    config: &Config,
    views: &Views,
    live: &watch::Sender<Arc<Watched>>,
    intake: &Intake,
) -> Result<Stage, ListenError> {
    let mut stage = Stage::new("faces");
    let admin = server::listen_admin(&config.gateway.admin_socket).await?;
    let exporter = match config.metrics_listen {
        Some(address) => Some(server::listen_metrics(address).await?),
        None => None,
    };
    stage.spawn("admin socket", |stop| server::serve_admin(admin, views.clone(), stop));
    if let Some(listener) = exporter {
        stage.spawn("metrics", |stop| server::serve_metrics(listener, views.clone(), stop));
    }
    let watched = live.subscribe();
    let (seen, tail) = (live.subscribe(), views.tail.clone());
    stage.spawn("drops", |stop| tell_drops(move || Arc::clone(&seen.borrow()), tail, stop));
    stage.spawn("look", |stop| look_on(move || Arc::clone(&watched.borrow()), stop));
    if let Some(interval) = config.gateway.status_interval {
        let (watched, intake) = (live.subscribe(), intake.clone());
        // Rules come and go.
        let status = move || {
            let watched = Arc::clone(&watched.borrow());
            watched.wants(EventKind::GatewayStatus).then(|| watched.status())
        };
        stage.spawn("gateway.status", |stop| tell_status(status, interval, intake, stop));
    }
    Ok(stage)
}
