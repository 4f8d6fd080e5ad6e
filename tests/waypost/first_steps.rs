//! What a new user does first.

use serde_json::Value;

use crate::support::http::Server;
use crate::support::mosquitto::{Mosquitto, mosquitto_pub};
use crate::support::waypost::Waypost;
use crate::support::{eventually, free_port};

#[test]
fn one_message_goes_from_mosquitto_through_the_store_to_http() {
    let broker = Mosquitto::start("");
    let service = Server::start();
    let gateway = Waypost::start(&format!(
        "[sources.local]\ntype = \"mqtt\"\nurl = \"{}\"\n\n[webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\n",
        broker.url(),
        service.url()
    ));
    gateway.until("waypost_source_connected", "source=\"local\"", |connected| connected == 1.0);

    assert!(broker.publish(&["-q", "1", "-t", "t/1", "-m", "hello"]));

    let records = eventually("one record", || service.records(), |records| records.len() == 1);
    assert_eq!(records[0]["payload"], "hello");
    assert_eq!(records[0]["topic"], "t/1");
    assert_eq!(records[0]["clientid"], "undefined");
    assert_eq!(records[0]["node"], "plant-7");
    assert_eq!(records[0]["metadata"]["rule_id"], "cloud");
    gateway.drained("cloud");
}

#[test]
fn one_message_goes_from_a_device_through_the_embedded_broker_to_http() {
    let service = Server::start();
    let port = free_port();
    let gateway = Waypost::start(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\n",
        service.url()
    ));
    gateway.until("waypost_source_connected", "source=\"devices\"", |connected| connected == 1.0);
    let before = gateway.status();

    let message = "{ \"msg\": \"hello HTTP Server\" }";
    assert!(mosquitto_pub(port, &["-q", "1", "-i", "emqx_c", "-t", "t/1", "-m", message]));

    let records = eventually("one record", || service.records(), |records| records.len() == 1);
    assert_eq!(records[0]["payload"], message);
    assert_eq!(records[0]["clientid"], "emqx_c");
    gateway.drained("cloud");
    let after = gateway.status();
    let count = |status: &Value, pointer: &str| status.pointer(pointer).unwrap().as_u64().unwrap();
    for pointer in ["/rules/cloud/matched", "/sinks/cloud/delivered"] {
        assert_eq!(count(&after, pointer), count(&before, pointer) + 1, "{pointer}: {after}");
    }
}
