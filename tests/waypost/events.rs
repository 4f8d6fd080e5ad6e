//! The catalogue of events as the program shows it.

use expect_test::expect;
use serde_json::Value;

use crate::support::waypost::command;

fn events(arguments: &[&str]) -> (i32, String, String) {
    let output = command().arg("events").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_program_lists_the_events_and_tells_about_one() {
    let (code, list, _) = events(&["list"]);
    assert_eq!((code, list.lines().count()), (0, 25), "{list}");
    let (_, told, _) = events(&["list", "client.disconnected"]);
    expect![[r#"
        client.disconnected: a connection has ended
        since    EMQX 4.0
        topic    $events/client/disconnected, $events/client_disconnected

          event                text         which event it is
          reason               text         why: `normal`, `tcp_closed`, `keepalive_timeout`, `kicked`, `takenover`, `discarded`, `not_authorized`, `protocol_error`, `source_lost`, ...
          clientid             text         client id
          username             text         user name
          peername             text         address and port of the client
          sockname             text         address and port the client connected to
          proto_name           text         name of the protocol: `MQTT`, or `MQIsdp` of MQTT 3.1
          proto_ver            integer      version of the protocol: 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5.0
          disconn_props        object       MQTT 5 properties of DISCONNECT
          disconnected_at      integer, ms  when the connection ended
          connected_at         integer, ms  when it connected (where known)
          client_attrs         object       attributes the broker gives the client (where known)
          timestamp            integer, ms  when Waypost, or the broker it asked, took note of it
          node                 text         the name of the gateway, or of the broker that told it

        EMQX 5   {"event":"client.disconnected","reason":"normal","clientid":"c_emqx","username":"u_emqx","peername":"192.168.0.10:56431","sockname":"0.0.0.0:1883","proto_name":"MQTT","proto_ver":5,"disconn_props":{"User-Property":{}},"disconnected_at":1694681417729,"connected_at":1694681417714,"client_attrs":{},"timestamp":1694681417729,"node":"plant-7","metadata":{"rule_id":"cloud"}}
        EMQX 4   {"action":"client_disconnected","node":"plant-7","clientid":"c_emqx","username":"u_emqx","reason":"normal","connected_at":1694681417714,"disconnected_at":1694681417729}
    "#]].assert_eq(&told);
    let (code, _, error) = events(&["list", "client.conected"]);
    let expected = "error: there is no event `client.conected`; did you mean `client.connected`?\n";
    assert_eq!((code, error.as_str()), (1, expected));
}

#[test]
fn the_list_as_json_has_every_event_with_its_bodies() {
    let (_, list, _) = events(&["list", "--json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 24);
    let acked = list.iter().find(|entry| entry["event"] == "message.acked").unwrap();
    assert_eq!(acked["topics"][1], "$events/message_acked");
    assert_eq!(acked["emqx5"]["from_clientid"], "c_pub");
    assert_eq!(acked["emqx4"]["from_client_id"], "c_pub");
    let (_, one, _) = events(&["list", "message.acked", "--json"]);
    assert_eq!(&serde_json::from_str::<Value>(&one).unwrap(), acked);
}

#[test]
fn the_reference_of_events_is_what_the_program_prints() {
    let page = std::fs::read_to_string("config/events.md").unwrap();
    assert_eq!(events(&["list", "--markdown"]).1, page);
}
