//! The columns, each once; what differs from one kind to another are columns of their own.

use super::{Column, Holds, Shown};

const fn column(
    name: &'static str,
    holds: Holds,
    means: &'static str,
    example: &'static str,
) -> Column {
    Column { name, holds, means, example, shown: Shown::Always }
}

impl Column {
    /// The same with another example.
    pub(super) const fn like(self, example: &'static str) -> Self {
        Self { example, ..self }
    }

    /// The same with another meaning.
    pub(super) const fn meaning(self, means: &'static str) -> Self {
        Self { means, ..self }
    }

    pub(super) const fn where_known(self) -> Self {
        Self { shown: Shown::WhereKnown, ..self }
    }

    const fn by_name(self) -> Self {
        Self { shown: Shown::ByName, ..self }
    }
}

use Holds::{Array, Boolean, Integer, Milliseconds, Object, Payload, Seconds, Text};

const NO_PROPERTIES: &str = r#"{"User-Property":{}}"#;

// Of every event.
pub(super) const EVENT: Column = column("event", Text, "which event it is", "\"\"");
pub(super) const TIMESTAMP: Column = column(
    "timestamp",
    Milliseconds,
    "when Waypost, or the broker it asked, took note of it",
    "1694681417729",
);
pub(super) const NODE: Column =
    column("node", Text, "the name of the gateway, or of the broker that told it", "\"plant-7\"");

// Of clients.
pub(super) const CLIENTID: Column = column("clientid", Text, "client id", "\"c_emqx\"");
pub(super) const USERNAME: Column = column("username", Text, "user name", "\"u_emqx\"");
pub(super) const PEERHOST: Column =
    column("peerhost", Text, "address of the client", "\"192.168.0.10\"");
pub(super) const PEERNAME: Column =
    column("peername", Text, "address and port of the client", "\"192.168.0.10:56431\"");
pub(super) const SOCKNAME: Column =
    column("sockname", Text, "address and port the client connected to", "\"0.0.0.0:1883\"");
pub(super) const PROTO_NAME: Column =
    column("proto_name", Text, "name of the protocol: `MQTT`, or `MQIsdp` of MQTT 3.1", "\"MQTT\"");
pub(super) const PROTO_VER: Column = column(
    "proto_ver",
    Integer,
    "version of the protocol: 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5.0",
    "5",
);
pub(super) const KEEPALIVE: Column =
    column("keepalive", Seconds, "keep-alive the client asked for", "60");
pub(super) const CLEAN_START: Column =
    column("clean_start", Boolean, "the client wants no earlier session", "true");
pub(super) const MOUNTPOINT: Column =
    column("mountpoint", Text, "what the broker puts before its topics", "\"undefined\"");
pub(super) const RECEIVE_MAXIMUM: Column = column(
    "receive_maximum",
    Integer,
    "messages that may be on the way to it unacknowledged",
    "32",
);
pub(super) const EXPIRY_INTERVAL: Column =
    column("expiry_interval", Seconds, "how long its session outlives the connection", "3600");
pub(super) const EXPIRY_INTERVAL_MS: Column = column(
    "expiry_interval",
    Milliseconds,
    "how long its session outlives the connection",
    "3600000",
);
pub(super) const IS_BRIDGE: Column =
    column("is_bridge", Boolean, "it is another broker's bridge", "false");
pub(super) const CONN_PROPS: Column =
    column("conn_props", Object, "MQTT 5 properties of CONNECT", NO_PROPERTIES);
pub(super) const DISCONN_PROPS: Column =
    column("disconn_props", Object, "MQTT 5 properties of DISCONNECT", NO_PROPERTIES);
pub(super) const CONNECTED_AT: Column =
    column("connected_at", Milliseconds, "when it connected", "1694681417714");
pub(super) const DISCONNECTED_AT: Column =
    column("disconnected_at", Milliseconds, "when the connection ended", "1694681417729");
pub(super) const CREATED_AT: Column =
    column("created_at", Milliseconds, "when the session began", "1694681417714");
pub(super) const CLIENT_ATTRS: Column =
    column("client_attrs", Object, "attributes the broker gives the client", "{}").where_known();
pub(super) const REASON_OF_DISCONNECT: Column = column(
    "reason",
    Text,
    "why: `normal`, `tcp_closed`, `keepalive_timeout`, `kicked`, `takenover`, `discarded`, `not_authorized`, \
     `protocol_error`, `source_lost`, ...",
    "\"normal\"",
);
pub(super) const REASON_OF_SESSION: Column =
    column("reason", Text, "why: `normal`, `expired`, `discarded`, `takenover`, ...", "\"normal\"");
pub(super) const REASON_CODE: Column = column(
    "reason_code",
    Text,
    "`success`, or why not: `not_authorized`, `bad_username_or_password`, `client_identifier_not_valid`, ...",
    "\"success\"",
);
pub(super) const IS_ANONYMOUS: Column =
    column("is_anonymous", Boolean, "nobody asked who it is", "false");
pub(super) const IS_SUPERUSER: Column =
    column("is_superuser", Boolean, "no access rule concerns it", "false");
pub(super) const ACTION: Column =
    column("action", Text, "what it wants to do: `publish` or `subscribe`", "\"publish\"");
pub(super) const AUTHZ_SOURCE: Column = column(
    "authz_source",
    Text,
    "what decided: `file` is the access rules of the config, `default` that there are none; brokers have others",
    "\"file\"",
);
pub(super) const RESULT: Column = column("result", Text, "`allow` or `deny`", "\"allow\"");

// Of subscriptions.
pub(super) const FILTER: Column =
    column("topic", Text, "the topic filter, `$share/GROUP/` included", "\"t/#\"");
pub(super) const SUB_QOS: Column = column("qos", Integer, "the quality of service granted", "1");
pub(super) const SUB_PROPS: Column =
    column("sub_props", Object, "MQTT 5 properties of SUBSCRIBE", NO_PROPERTIES);
pub(super) const UNSUB_PROPS: Column =
    column("unsub_props", Object, "MQTT 5 properties of UNSUBSCRIBE", NO_PROPERTIES);
pub(super) const OPTS: Column = column(
    "opts",
    Object,
    "options of the subscription: `qos`, `nl` no local, `rap` retain as published, `rh` retain handling, `is_new`",
    r#"{"qos":1,"nl":0,"rap":0,"rh":0}"#,
);
pub(super) const OPTS_BY_NAME: Column = OPTS.by_name();

// Of messages.
pub(super) const ID: Column =
    column("id", Text, "id of the message, 32 hex digits", "\"0006054DC3E940F8F445000038A60002\"");
pub(super) const PUBLISHER: Column = CLIENTID.meaning("client id of the publisher");
pub(super) const PUBLISHER_NAME: Column = USERNAME.meaning("user name of the publisher");
pub(super) const PUBLISHER_HOST: Column = PEERHOST.meaning("address of the publisher");
pub(super) const PUBLISHER_PEER: Column = PEERNAME.meaning("address and port of the publisher");
pub(super) const FROM_CLIENTID: Column =
    column("from_clientid", Text, "client id of the publisher", "\"c_pub\"");
pub(super) const FROM_USERNAME: Column =
    column("from_username", Text, "user name of the publisher", "\"u_pub\"");
pub(super) const RECEIVER: Column = CLIENTID.like("\"c_sub\"").meaning("client id of the receiver");
pub(super) const RECEIVER_NAME: Column =
    USERNAME.like("\"u_sub\"").meaning("user name of the receiver");
pub(super) const RECEIVER_HOST: Column = PEERHOST.meaning("address of the receiver");
pub(super) const RECEIVER_PEER: Column = PEERNAME.meaning("address and port of the receiver");
pub(super) const PAYLOAD: Column =
    column("payload", Payload, "what was published", r#""{\"msg\": \"hello\"}""#);
pub(super) const TOPIC: Column = column("topic", Text, "the topic", "\"t/a\"");
pub(super) const QOS: Column = column("qos", Integer, "quality of service: 0, 1 or 2", "1");
pub(super) const FLAGS: Column =
    column("flags", Object, "`dup` sent before, `retain`", r#"{"dup":false,"retain":false}"#);
pub(super) const PUB_PROPS: Column =
    column("pub_props", Object, "MQTT 5 properties of PUBLISH", NO_PROPERTIES);
pub(super) const PUBACK_PROPS: Column =
    column("puback_props", Object, "MQTT 5 properties of PUBACK or PUBREC", NO_PROPERTIES);
pub(super) const PUBLISH_RECEIVED_AT: Column =
    column("publish_received_at", Milliseconds, "when the message was taken", "1694681417728");
pub(super) const REASON_OF_DROP: Column = column(
    "reason",
    Text,
    "why: `no_subscribers`, `receive_maximum_exceeded`, `packet_identifier_inuse`, ...",
    "\"no_subscribers\"",
);
pub(super) const REASON_OF_DELIVERY_DROP: Column = column(
    "reason",
    Text,
    "why: `queue_full`, `expired`, `no_local`, `qos0_msg`, ...",
    "\"queue_full\"",
);
pub(super) const VALIDATION: Column =
    column("validation", Text, "name of the validation", "\"my_validation\"");
pub(super) const TRANSFORMATION: Column =
    column("transformation", Text, "name of the transformation", "\"my_transformation\"");

// Of alarms, sources and the gateway.
pub(super) const ALARM_NAME: Column =
    column("name", Text, "name of the alarm", "\"high_cpu_usage\"");
pub(super) const DETAILS: Column =
    column("details", Object, "what the broker says of it", r#"{"usage":"10%"}"#);
pub(super) const MESSAGE: Column = column("message", Text, "for a person", "\"10% cpu usage\"");
pub(super) const ACTIVATED_AT: Column =
    column("activated_at", Milliseconds, "when it began, in the broker's unit", "1736512728666");
pub(super) const DEACTIVATED_AT: Column =
    column("deactivated_at", Milliseconds, "when it ended, in the broker's unit", "1736512728999");
pub(super) const SOURCE: Column =
    column("source", Text, "name of the source in the config", "\"local\"");
pub(super) const GAP_FROM: Column =
    column("from", Milliseconds, "since when events may be missing", "1694681400000");
pub(super) const GAP_TO: Column =
    column("to", Milliseconds, "until when; undefined while it is open", "1694681417729");
pub(super) const GAP_REASON: Column =
    column("reason", Text, "why the source heard nothing", "\"connection_lost\"");
pub(super) const VERSION: Column = column("version", Text, "version of Waypost", "\"0.1.0\"");
pub(super) const STARTED_AT: Column =
    column("started_at", Milliseconds, "when this process started", "1694680000000");
pub(super) const SOURCES: Column = column(
    "sources",
    Object,
    "each source by its name: its state, events received, seconds since the last one",
    r#"{"local":{"state":"connected","received":1200,"quiet_seconds":3}}"#,
);
pub(super) const SINKS: Column = column(
    "sinks",
    Object,
    "each sink by its name: its state, records and bytes that wait, the age of the oldest, what became of the others",
    r#"{"cloud":{"state":"ok","queued":0,"bytes":0,"bytes_max":536870912,"oldest_age_seconds":0,"delivered":1200,"dropped":0,"dead_letters":0}}"#,
);
pub(super) const PROBLEMS: Column =
    column("problems", Array, "what is wrong, in words, as `waypost status` says it", "[]");
