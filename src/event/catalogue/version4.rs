//! Bodies of EMQX 4's webhook plugin, `emqx_web_hook`, as data.
//!
//! They follow the code of 4.4; the plugin's documentation has fewer keys, seconds and another action in places
//! ([`Profile::Docs`]).

/// Which of EMQX 4's words to follow where its code and its documentation differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Profile {
    /// What `emqx_web_hook` 4.4 sends.
    #[default]
    Code,
    /// What its documentation says.
    Docs,
}

/// The body of a kind.
#[derive(Debug)]
pub struct Version4 {
    /// The value of `action`.
    pub action: &'static str,
    /// The same in the documentation.
    pub action_docs: &'static str,
    /// The plugin has no such event: the body is Waypost's, and says so.
    pub ours: bool,
    /// What follows `action` and `node`.
    pub fields: &'static [Field4],
}

/// A key of a body.
#[derive(Debug, Clone, Copy)]
pub struct Field4 {
    /// As it stands in the body.
    pub key: &'static str,
    /// Where its value comes from.
    pub from: From4,
    /// The documentation has it too.
    pub documented: bool,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From4 {
    /// A column.
    Column(&'static str),
    /// A column in milliseconds, which the documentation has in seconds.
    Moment(&'static str),
    /// The address of the client: `peerhost`, or what `peername` says of it.
    Address,
    /// The retain flag.
    Retain,
    /// The options of a subscription: `opts`, or what `qos` and `sub_props` say of them.
    Options,
    /// An empty object where the source knows no better.
    NoOptions,
    /// The payload, encoded as `payload_as` says.
    Payload,
}

const fn field(key: &'static str, from: From4) -> Field4 {
    Field4 { key, from, documented: true }
}

const fn column(key: &'static str) -> Field4 {
    field(key, From4::Column(key))
}

impl Field4 {
    const fn undocumented(self) -> Self {
        Self { documented: false, ..self }
    }
}

impl Version4 {
    /// A body of the plugin.
    pub(super) const fn of(action: &'static str, fields: &'static [Field4]) -> Self {
        Self { action, action_docs: action, ours: false, fields }
    }

    /// A body in the plugin's style of an event that it does not have.
    pub(super) const fn ours(action: &'static str, fields: &'static [Field4]) -> Self {
        Self { action, action_docs: action, ours: true, fields }
    }

    pub(super) const fn documented_as(self, action_docs: &'static str) -> Self {
        Self { action_docs, ..self }
    }
}

const CLIENTID: Field4 = column("clientid");
const USERNAME: Field4 = column("username");
const REASON: Field4 = column("reason");
const TOPIC: Field4 = column("topic");
const IPADDRESS: Field4 = field("ipaddress", From4::Address);
const KEEPALIVE: Field4 = column("keepalive");
const PROTO_VER: Field4 = column("proto_ver");
const CONNECTED_AT: Field4 = field("connected_at", From4::Moment("connected_at"));
const FROM_CLIENT_ID: Field4 = field("from_client_id", From4::Column("clientid"));
const FROM_USERNAME: Field4 = field("from_username", From4::Column("username"));
const FROM_CLIENT_ID_TO: Field4 = field("from_client_id", From4::Column("from_clientid"));
const FROM_USERNAME_TO: Field4 = field("from_username", From4::Column("from_username"));
const QOS: Field4 = column("qos");
const RETAIN: Field4 = field("retain", From4::Retain);
const PAYLOAD: Field4 = field("payload", From4::Payload);
const TS: Field4 = field("ts", From4::Column("publish_received_at"));
const OPTS: Field4 = field("opts", From4::Options);

pub(super) const CONNECT: &[Field4] = &[CLIENTID, USERNAME, IPADDRESS, KEEPALIVE, PROTO_VER];
pub(super) const CONNACK: &[Field4] = &[
    CLIENTID,
    USERNAME,
    IPADDRESS,
    KEEPALIVE,
    PROTO_VER,
    field("conn_ack", From4::Column("reason_code")),
    CONNECTED_AT.undocumented(),
];
pub(super) const CONNECTED: &[Field4] =
    &[CLIENTID, USERNAME, IPADDRESS, KEEPALIVE, PROTO_VER, CONNECTED_AT];
pub(super) const DISCONNECTED: &[Field4] = &[
    CLIENTID,
    USERNAME,
    REASON,
    CONNECTED_AT.undocumented(),
    field("disconnected_at", From4::Moment("disconnected_at")).undocumented(),
];
pub(super) const SUBSCRIBE: &[Field4] = &[CLIENTID, USERNAME, TOPIC, OPTS];
pub(super) const UNSUBSCRIBE: &[Field4] =
    &[CLIENTID, USERNAME, TOPIC, field("opts", From4::NoOptions).undocumented()];
pub(super) const UNSUBSCRIBED: &[Field4] = &[CLIENTID, USERNAME, TOPIC];
pub(super) const TERMINATED: &[Field4] = &[CLIENTID, USERNAME, REASON];
pub(super) const PUBLISH: &[Field4] =
    &[FROM_CLIENT_ID, FROM_USERNAME, TOPIC, QOS, RETAIN, PAYLOAD, TS];
pub(super) const DELIVERED: &[Field4] =
    &[CLIENTID, USERNAME, FROM_CLIENT_ID_TO, FROM_USERNAME_TO, TOPIC, QOS, RETAIN, PAYLOAD, TS];
pub(super) const ACKED: &[Field4] = &[
    CLIENTID,
    USERNAME.undocumented(),
    FROM_CLIENT_ID_TO,
    FROM_USERNAME_TO,
    TOPIC,
    QOS,
    RETAIN,
    PAYLOAD,
    TS,
];

// What the plugin does not have.
pub(super) const DROPPED: &[Field4] =
    &[FROM_CLIENT_ID, FROM_USERNAME, REASON, TOPIC, QOS, RETAIN, PAYLOAD, TS];
pub(super) const DELIVERY_DROPPED: &[Field4] = &[
    CLIENTID,
    USERNAME,
    REASON,
    FROM_CLIENT_ID_TO,
    FROM_USERNAME_TO,
    TOPIC,
    QOS,
    RETAIN,
    PAYLOAD,
    TS,
];
pub(super) const VALIDATION_FAILED: &[Field4] =
    &[column("validation"), FROM_CLIENT_ID, FROM_USERNAME, TOPIC, QOS, RETAIN, PAYLOAD, TS];
pub(super) const TRANSFORMATION_FAILED: &[Field4] =
    &[column("transformation"), FROM_CLIENT_ID, FROM_USERNAME, TOPIC, QOS, RETAIN, PAYLOAD, TS];
pub(super) const AUTHN: &[Field4] = &[
    CLIENTID,
    USERNAME,
    IPADDRESS,
    column("reason_code"),
    column("is_anonymous"),
    column("is_superuser"),
];
pub(super) const AUTHZ: &[Field4] = &[
    CLIENTID,
    USERNAME,
    IPADDRESS,
    TOPIC,
    // `action` is taken.
    field("access", From4::Column("action")),
    column("authz_source"),
    column("result"),
];
pub(super) const PING: &[Field4] = &[CLIENTID, USERNAME, IPADDRESS, KEEPALIVE, PROTO_VER];
pub(super) const SESSION_CREATED: &[Field4] =
    &[CLIENTID, USERNAME, field("created_at", From4::Moment("created_at"))];
pub(super) const ALARM_ACTIVATED: &[Field4] =
    &[column("name"), column("details"), column("message"), column("activated_at")];
pub(super) const ALARM_DEACTIVATED: &[Field4] = &[
    column("name"),
    column("details"),
    column("message"),
    column("activated_at"),
    column("deactivated_at"),
];
pub(super) const GAP: &[Field4] = &[column("source"), column("from"), column("to"), REASON];
pub(super) const STATUS: &[Field4] = &[
    column("version"),
    column("started_at"),
    column("sources"),
    column("sinks"),
    column("problems"),
];
