//! `rmqtt-peer PORT URL`: an MQTT broker on 127.0.0.1:PORT that posts every event to URL, and publishes the events of
//! clients and sessions under `$SYS/brokers/1/`.

use rmqtt::context::ServerContext;
use rmqtt::net::{Builder, Result};
use rmqtt::server::MqttServer;

/// Every hook that the plugin has, under its usual name.
const HOOKS: [&str; 15] = [
    "session_created",
    "session_terminated",
    "session_subscribed",
    "session_unsubscribed",
    "client_connect",
    "client_connack",
    "client_connected",
    "client_disconnected",
    "client_subscribe",
    "client_unsubscribe",
    "message_publish",
    "message_delivered",
    "message_acked",
    "message_dropped",
    "offline_message",
];

#[tokio::main]
async fn main() -> Result<()> {
    simple_logger::SimpleLogger::new().with_level(log::LevelFilter::Warn).init()?;
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: rmqtt-peer PORT URL";
    let port: u16 = arguments.next().expect(usage).parse().expect(usage);
    let url = arguments.next().expect(usage);

    let rules: String =
        HOOKS.iter().map(|hook| format!("rule.{hook} = [{{ action = {hook:?} }}]\n")).collect();
    let web_hook = format!("urls = [{url:?}]\nretry_max_elapsed_time = \"60s\"\n{rules}");
    let context = ServerContext::new()
        .plugins_config_map_add("rmqtt-web-hook", web_hook)
        .plugins_config_map_add("rmqtt-sys-topic", "publish_interval = \"1h\"\n")
        .build()
        .await;
    rmqtt_web_hook::register(&context, true, false).await?;
    rmqtt_sys_topic::register(&context, true, false).await?;
    let listener = Builder::new().name("tcp").laddr(([127, 0, 0, 1], port).into()).allow_anonymous(true);
    MqttServer::new(context).listener(listener.bind()?.tcp()?).build().run().await
}
