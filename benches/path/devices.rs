//! Devices that connect straight to Waypost: what the embedded broker acknowledges once it is committed, and what idle
//! connections take.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rmqtt::context::ServerContext;
use rmqtt::hook::{Handler, HookResult, Parameter, ReturnType, Type};
use rmqtt::net::Builder;
use rmqtt::server::MqttServer;
use rmqtt::types::{PublishAclResult, SubscribeAclResult};

use crate::gateway::BATCHES;
use crate::job;
use crate::process::{self, mebibytes};
use crate::publisher::Plan;
use crate::receiver::{self, Receiver, Tally};
use crate::report::{Report, Target};
use crate::support::free_port;
use crate::support::waypost::Waypost;

/// Devices that publish at once.
const DEVICES: usize = 50;
/// Devices that say nothing.
const IDLE: usize = 2000;

/// 256-byte messages at QoS 1 from fifty devices, and two thousand devices that say nothing.
pub fn measure(report: &mut Report, messages: usize, runs: usize) {
    let mut bare = Vec::new();
    let mut committed = Vec::new();
    let mut delivered = Vec::new();
    // In turn: what disturbs one disturbs the others as well.
    for run in 0..runs.max(1) {
        eprintln!("embedded broker, run {} of {runs} (load {:.2})", run + 1, process::load());
        bare.push(rmqtt_alone(messages));
        committed.push(waypost(messages, false));
        delivered.push(waypost(messages, true));
    }
    let best = |rates: &[f64]| rates.iter().copied().fold(0.0, f64::max);
    let reference = (best(&bare), "messages/s of rmqtt with hooks that do nothing");
    let name = "50 devices, committed before PUBACK";
    report.compared(name, best(&committed), "messages/s", reference, Target::AtLeast(40_000.0));
    let name = "50 devices, committed and delivered in batches of 500";
    report.compared(name, best(&delivered), "messages/s", reference, Target::None);
    let rss = mebibytes(idle());
    report.figure("2,000 idle connections: RSS", rss, "MiB", Target::Under(64.0));
}

fn plan(port: u16, messages: usize) -> Plan {
    Plan { publishers: DEVICES, ..Plan::full_speed(port, messages) }
}

fn gateway(port: u16, http: u16) -> Waypost {
    let gateway = Waypost::start(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n\
         [webhooks.cloud]\ntopics = [\"bench/#\"]\nurl = \"{}\"\n{BATCHES}\n",
        receiver::url(http)
    ));
    gateway.until("waypost_source_connected", "source=\"devices\"", |connected| connected > 0.0);
    gateway
}

/// Messages a second until the last is acknowledged; with a service that takes them meanwhile, or none.
fn waypost(messages: usize, is_delivered: bool) -> f64 {
    let tally = Tally::of(messages);
    let receiver = is_delivered.then(|| Receiver::start(&tally));
    let (mqtt, http) = (free_port(), receiver.as_ref().map_or_else(free_port, |it| it.port));
    let gateway = gateway(mqtt, http);
    let took = plan(mqtt, messages).start(&tally).join();
    if is_delivered {
        tally.wait("messages received", messages, Tally::distinct);
        job::check(&gateway, &tally);
    }
    messages as f64 / took.as_secs_f64()
}

/// The same devices at rmqtt alone, which asks hooks that do nothing where Waypost's take custody.
fn rmqtt_alone(messages: usize) -> f64 {
    let port = free_port();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.spawn(serve(port));
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        crate::support::pause();
    }
    let took = plan(port, messages).start(&Tally::of(messages)).join();
    runtime.shutdown_background();
    messages as f64 / took.as_secs_f64()
}

struct Nothing;

#[async_trait::async_trait]
impl Handler for Nothing {
    async fn hook(&self, parameter: &Parameter, earlier: Option<HookResult>) -> ReturnType {
        match parameter {
            Parameter::MessagePublishCheckAcl(..) => {
                (false, Some(HookResult::PublishAclResult(PublishAclResult::allow())))
            }
            Parameter::ClientSubscribeCheckAcl(_, subscribe) => {
                let granted = SubscribeAclResult::new_success(subscribe.opts.qos(), None);
                (false, Some(HookResult::SubscribeAclResult(granted)))
            }
            _ => (true, earlier),
        }
    }
}

async fn serve(port: u16) {
    let context = ServerContext::new().busy_check_enable(false).build().await;
    let register = context.extends.hook_mgr().register();
    for question in [
        Type::ClientDisconnected,
        Type::ClientSubscribeCheckAcl,
        Type::MessagePublish,
        Type::MessagePublishCheckAcl,
    ] {
        register.add(question, Box::new(Nothing)).await;
    }
    register.start().await;
    let listener = Builder::new()
        .name("bare")
        .laddr(([127, 0, 0, 1], port).into())
        .allow_anonymous(true)
        .nodelay(true)
        .max_inflight(1000.try_into().unwrap())
        .bind()
        .unwrap();
    let server = MqttServer::new(context).listener(listener.tcp().unwrap()).build();
    drop(server.run().await);
}

/// Resident memory of a gateway with idle devices.
fn idle() -> u64 {
    let (mqtt, tally) = (free_port(), Tally::of(1));
    let receiver = Receiver::start(&tally);
    let gateway = gateway(mqtt, receiver.port);
    let devices: Vec<TcpStream> = (0..IDLE).map(|number| connect(mqtt, number)).collect();
    let bytes = process::usage(gateway.pid()).rss_bytes;
    assert_eq!(devices.len(), IDLE);
    bytes
}

/// An idle device of MQTT 3.1.1 that need not say anything for five minutes.
fn connect(port: u16, number: usize) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let client_id = format!("idle-{number:05}");
    let mut packet = b"\x10\x16\0\x04MQTT\x04\x02\x01\x2c\0\x0a".to_vec();
    packet.extend(client_id.as_bytes());
    stream.write_all(&packet).unwrap();
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).unwrap();
    assert_eq!(connack[3], 0, "the broker refused a device");
    stream
}
