//! `[gateway]`, `[log]`, `[metrics]`, `[store]` and `[dead_letters]`.

use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use super::reader::{Table, Value};
use super::schema::Form;
use super::{DeadLetterOptions, Gateway, Log, LogFormat, StoreOptions};

/// Where packages and services keep their state.
const DATA_DIR: &str = "/var/lib/waypost";
const INTAKE_BYTES: NonZeroUsize = NonZeroUsize::new(8 << 20).expect("not zero");
/// Longest path of a Unix socket (`sun_path` of Linux, without its final zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;
const METRICS_PORT: u16 = 9464;
/// Often enough for tests, and seldom enough to be worth an event.
const STATUS_INTERVAL_MIN: Duration = Duration::from_secs(1);
const STATUS_INTERVAL_MAX: Duration = Duration::from_hours(24 * 7);
const MIB: u64 = 1 << 20;
/// Least quota of the dead letters: the largest record has room.
const DEAD_LETTER_BYTES_MIN: u64 = 64 * MIB;
/// Largest quota that they get without being asked.
const DEAD_LETTER_BYTES_DEFAULT_MAX: u64 = 512 * MIB;

/// The table is given back: other tables are checked against it before it is finished.
pub(super) fn gateway(mut table: Table<'_>) -> (Gateway, Table<'_>) {
    let host = table.reader.surroundings.host.clone();
    let name = table.or("name", host, Value::nonempty_text);
    let data_dir = table.or("data_dir", PathBuf::from(DATA_DIR), Value::path);
    let admin_socket = table.or("admin_socket", data_dir.join("admin.sock"), Value::path);
    if admin_socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        let key = format!("{}.admin_socket", table.path());
        table.reader.problem_with(
            &key,
            format!(
                "the path of a Unix socket must be at most {SOCKET_PATH_BYTES_MAX} bytes long; {} is longer: set a \
                 shorter one, for example under /run",
                admin_socket.display()
            ),
        );
    }
    let intake_bytes_max = table.or("intake_max_bytes", INTAKE_BYTES, |value| {
        NonZeroUsize::new(usize::try_from(value.size(1 << 20..=1 << 30)?).ok()?)
    });
    let status_interval = table.or("status_interval", None, |value| {
        value.may_be(Form::words(["off"].into_iter()));
        if matches!(value.content, DeValue::String(text) if text == "off") {
            return Some(None);
        }
        Some(Some(value.period(STATUS_INTERVAL_MIN..=STATUS_INTERVAL_MAX)?))
    });
    (Gateway { name, data_dir, admin_socket, intake_bytes_max, status_interval }, table)
}

pub(super) fn log(mut table: Table<'_>) -> Log {
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let format = table.or("format", LogFormat::Text, |value| value.word(&formats));
    let filter = table.or("filter", "info".to_owned(), log_filter);
    table.finish();
    Log { format, filter }
}

fn log_filter(value: &Value<'_>) -> Option<String> {
    let filter = value.nonempty_text()?;
    match filter.parse::<tracing_subscriber::filter::Targets>() {
        Ok(_) => Some(filter),
        Err(_) => value.wrong(format!(
            "must be a level (`error`, `warn`, `info`, `debug`, `trace`) or a list such as \
             \"info,waypost::delivery=debug\", is {filter:?}"
        )),
    }
}

pub(super) fn metrics(mut table: Table<'_>) -> Option<SocketAddr> {
    let default = Some(SocketAddr::from(([127, 0, 0, 1], METRICS_PORT)));
    let listen = table.or("listen", default, |value| {
        if value.text()? == "off" { Some(None) } else { Some(Some(value.socket_address()?)) }
    });
    table.finish();
    listen
}

pub(super) fn store(mut table: Table<'_>) -> StoreOptions {
    let window = Duration::from_millis(5);
    let commit_window_max = table.or("commit_window_max", window, |value| {
        value.period(Duration::ZERO..=Duration::from_secs(1))
    });
    table.finish();
    StoreOptions { commit_window_max }
}

pub(super) fn dead_letters(mut table: Table<'_>, data_dir: &Path) -> DeadLetterOptions {
    let partition = (table.reader.surroundings.partition_bytes)(data_dir);
    let twentieth = partition.unwrap_or(u64::MAX) / 20 / MIB * MIB;
    let default = twentieth.clamp(DEAD_LETTER_BYTES_MIN, DEAD_LETTER_BYTES_DEFAULT_MAX);
    let default = NonZeroU64::new(default).expect("clamped above zero");
    let bytes_max = table.or("max_bytes", default, |value| {
        NonZeroU64::new(value.size(DEAD_LETTER_BYTES_MIN..=1 << 40)?)
    });
    table.finish();
    DeadLetterOptions { bytes_max }
}

impl Value<'_> {
    /// An address to listen on.
    pub(super) fn socket_address(&self) -> Option<SocketAddr> {
        let text = self.text()?;
        text.parse().ok().or_else(|| {
            self.wrong(format!(
                "must be an address and a port such as \"127.0.0.1:1883\", \"0.0.0.0:1883\" or \"[::1]:1883\", is \
                 {text:?}"
            ))
        })
    }
}
