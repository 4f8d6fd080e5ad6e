//! `waypost probe`: tries the connections of a config, with or without a Waypost that runs.

mod report;
mod sample;

use clap::Args;
use futures_util::future::join_all;

use super::{ConfigArguments, Failure, fold, runtime, say};
use crate::config::{self, Config, MqttSource, MqttTransport, Source};
use crate::delivery;
use crate::name::{SinkName, SourceName};
use crate::rule::Router;
use crate::source;
use report::{Probed, Report};

/// What to try, and how to show it.
#[derive(Debug, Args)]
pub(super) struct ProbeArguments {
    /// A source, webhook or sink; all of them when left out
    name: Option<String>,
    #[command(flatten)]
    config: ConfigArguments,
    /// Also send each service one event that never happened: a topic of its rule, the payload {"sample":true} and a record id
    /// that starts with `probe`
    #[arg(long)]
    send_sample: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn probe(arguments: &ProbeArguments) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let wanted = |name: &str| arguments.name.as_deref().is_none_or(|wanted| wanted == name);
    let router = Router::new(&config.gateway.name, config.sources.keys(), &config.rules);
    let sources: Vec<_> = config.sources.iter().filter(|(name, _)| wanted(name.as_str())).collect();
    let sinks: Vec<_> = config.sinks.iter().filter(|(name, _)| wanted(name.as_str())).collect();
    if let (Some(name), true, true) = (&arguments.name, sources.is_empty(), sinks.is_empty()) {
        return Err(nothing_called(name, &config));
    }
    let report = runtime()?.block_on(async {
        let sources = sources.into_iter().map(|(name, source)| of_source(name, source, &router));
        let sinks = sinks
            .into_iter()
            .map(|(name, sink)| of_sink(name, sink, &config, &router, arguments.send_sample));
        let (mut probed, sinks) = tokio::join!(join_all(sources), join_all(sinks));
        probed.extend(sinks);
        Report(probed)
    });
    if arguments.json {
        say(&report.to_json().map_err(|error| Failure::failed(&error))?);
    } else {
        let columns = fold::columns(std::io::stdout());
        say(&fold::folded(&report.to_string(), columns, report::TEXT_COLUMN));
    }
    match report.failures() {
        0 => Ok(()),
        failed => {
            let message = {
                let all = report.0.len();
                let plural = if all == 1 { "" } else { "s" };
                format!("error: {failed} of {all} connection{plural} failed")
            };
            Err(Failure { code: 1, message })
        }
    }
}

fn nothing_called(name: &str, config: &Config) -> Failure {
    let sources = config.sources.keys().map(ToString::to_string);
    let there: Vec<_> = sources.chain(config.sinks.keys().map(ToString::to_string)).collect();
    let message = format!(
        "error: there is no source, webhook or sink `{name}`; there are {}",
        there.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    );
    Failure { code: 1, message }
}

async fn of_source(name: &SourceName, source: &Source, router: &Router) -> Probed {
    let (address, steps) = match source {
        Source::Mqtt(mqtt) => {
            let id = mqtt.client_id.as_deref().unwrap_or("waypost");
            let id = format!("{id}-probe-{:04x}", fastrand::u16(..));
            (url_of(mqtt), source::mqtt::probe(mqtt, &router.subscriptions(name), &id).await)
        }
        #[cfg(feature = "broker")]
        Source::Broker(broker) => (config::addresses(&broker.listeners), Vec::new()),
        Source::Http(http) => (config::addresses(&http.listeners), Vec::new()),
    };
    Probed { kind: "source", name: name.to_string(), address, steps }
}

fn url_of(source: &MqttSource) -> String {
    let (scheme, path) = match &source.transport {
        MqttTransport::Tcp => ("mqtt", ""),
        MqttTransport::Tls => ("mqtts", ""),
        MqttTransport::WebSocket { path } => ("ws", path.as_str()),
        MqttTransport::WebSocketTls { path } => ("wss", path.as_str()),
    };
    let path = path.split('?').next().unwrap_or_default();
    format!("{scheme}://{}:{}{path}", source.host, source.port)
}

async fn of_sink(
    name: &SinkName,
    sink: &config::Sink,
    config: &Config,
    router: &Router,
    send_sample: bool,
) -> Probed {
    let sample = send_sample.then(|| sample::for_sink(name, config, router));
    let (sample, without) = match sample {
        None => (None, None),
        Some(Ok(record)) => {
            (Some(delivery::Sample { record, node: config.gateway.name.clone() }), None)
        }
        Some(Err(why)) => (None, Some(why)),
    };
    let delivery::Probe { url, mut steps } = delivery::probe(name, sink, sample).await;
    steps.extend(without);
    Probed { kind: "sink", name: name.to_string(), address: url, steps }
}
