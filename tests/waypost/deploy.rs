//! What `deploy/` has for the places where Waypost runs and is watched.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use expect_test::expect;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::certificates::Certificates;
use crate::support::device::Device;
use crate::support::http::{Reply, Server, get};
use crate::support::waypost::Waypost;
use crate::support::{eventually, free_port};

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(deploy(file)).unwrap()
}

/// Runs a program that must succeed, and gives what it said.
#[track_caller]
fn succeed(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("tests/run installs it");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

fn gateway(service: &Server, port: u16, more: &str) -> Waypost {
    Waypost::start(&format!(
        "[sources.devices]\ntype = \"broker\"\nlisten = [\"127.0.0.1:{port}\"]\n\n\
         [webhooks.cloud]\ntopics = [\"t/#\"]\nurl = \"{}\"\nretry = {{ initial = \"20ms\", max = \"100ms\" }}\n{more}",
        service.url()
    ))
}

/// The query of every panel, with Grafana's variables filled in.
fn dashboard_queries() -> Vec<String> {
    fn collect(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::Object(entries) => {
                for (key, value) in entries {
                    match (key.as_str(), value) {
                        ("expr", Value::String(query)) => into.push(query.clone()),
                        _ => collect(value, into),
                    }
                }
            }
            Value::Array(elements) => elements.iter().for_each(|element| collect(element, into)),
            _ => {}
        }
    }
    let mut queries = Vec::new();
    collect(&serde_json::from_str(&read("grafana/waypost.json")).unwrap(), &mut queries);
    let filled = queries.iter().map(|query| {
        query.replace("$__rate_interval", "5m").replace("$__range", "1h").replace("$instance", ".*")
    });
    filled.collect()
}

#[test]
fn promtool_accepts_the_alerts_and_each_fires_when_it_should() {
    succeed(
        Command::new("promtool")
            .args(["check", "rules"])
            .arg(deploy("prometheus/waypost.rules.yml")),
    );
    succeed(
        Command::new("promtool").args(["check", "config"]).arg(deploy("prometheus/prometheus.yml")),
    );
    succeed(
        Command::new("promtool")
            .args(["test", "rules"])
            .arg(deploy("prometheus/waypost.rules.test.yml")),
    );
    let (rules, tests) =
        (read("prometheus/waypost.rules.yml"), read("prometheus/waypost.rules.test.yml"));
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let untried: Vec<_> =
        alerts.filter(|alert| !tests.contains(&format!("alertname=\"{alert}\""))).collect();
    assert!(untried.is_empty(), "no test fires {untried:?}");
}

#[test]
fn every_metric_of_the_alerts_and_the_dashboard_is_there() {
    let (service, certificates) = (Server::start(), Certificates::new());
    certificates.issue("plant-7");
    let gateway = gateway(
        &service,
        free_port(),
        &format!(
            "\n[webhooks.secure]\nurl = \"https://127.0.0.1:1\"\ntls = {{ cert_file = \"{}\", key_file = \"{}\" }}\n",
            certificates.file("plant-7.pem"),
            certificates.file("plant-7.key")
        ),
    );
    let scrape = || gateway.get("/metrics").unwrap().1;
    let exposed = eventually("certificates are looked at", scrape, |exposed| {
        exposed.contains("waypost_certificate_expiry_timestamp_seconds{")
    });
    let exposed: BTreeSet<&str> =
        exposed.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    let queries = dashboard_queries();
    assert!(queries.len() > 20, "only {} queries", queries.len());
    let texts =
        queries.join("\n") + &read("prometheus/waypost.rules.yml") + &read("grafana/waypost.json");
    let words = texts.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let named: BTreeSet<&str> =
        words.filter(|word| word.starts_with("waypost_") || word.starts_with("process_")).collect();
    assert!(named.len() > 20, "{named:?}");
    let unknown: Vec<_> = named.difference(&exposed).collect();
    assert!(unknown.is_empty(), "no such series: {unknown:?}");
}

#[test]
fn every_query_of_the_dashboard_is_promql() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queries.yml");
    let rules = dashboard_queries();
    let rules = rules.iter().enumerate().map(|(number, query)| {
        format!("      - record: query:{number}\n        expr: {}\n", serde_json::json!(query))
    });
    let rules: String = rules.collect();
    fs::write(&file, format!("groups:\n  - name: dashboard\n    rules:\n{rules}")).unwrap();
    succeed(Command::new("promtool").args(["check", "rules"]).arg(file));
}

/// A Prometheus that scrapes one gateway four times a second.
struct Prometheus {
    port: u16,
    child: Child,
    _folder: TempDir,
}

impl Prometheus {
    /// With the alerts as they are, but for the time that they wait.
    fn start(metrics_port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
        let rules = read("prometheus/waypost.rules.yml");
        let impatient =
            rules.lines().filter(|line| !line.trim().starts_with("for: ")).collect::<Vec<_>>();
        write("waypost.rules.yml", &impatient.join("\n"));
        let config = read("prometheus/prometheus.yml");
        let config = config
            .replace("127.0.0.1:9464\"]", &format!("127.0.0.1:{metrics_port}\"]"))
            .replace("_interval: 15s", "_interval: 250ms");
        assert_ne!(config, read("prometheus/prometheus.yml"));
        write("prometheus.yml", &config);
        let port = free_port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus is installed (tests/run installs it)");
        Self { port, child, _folder: folder }
    }

    /// Names and summaries of the alerts that fire.
    fn firing(&self) -> Option<BTreeSet<String>> {
        let (_, body) = get(self.port, "/api/v1/alerts")?;
        let answer: Value = serde_json::from_str(&body).ok()?;
        let alerts = answer["data"]["alerts"].as_array()?.iter();
        let firing = alerts.filter(|alert| alert["state"] == "firing");
        let told = firing.map(|alert| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            format!(
                "{}: {}",
                text(&alert["labels"]["alertname"]),
                text(&alert["annotations"]["summary"])
            )
        });
        Some(told.collect())
    }

    /// Whether the gateway has been scraped.
    fn is_up(&self) -> bool {
        let answer = get(self.port, "/api/v1/query?query=up");
        answer.is_some_and(|(_, body)| body.contains("\"1\"]"))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn prometheus_fires_when_a_service_refuses_and_when_the_gateway_is_gone_and_not_before() {
    let (port, service) = (free_port(), Server::scripted(|_| Reply::Status(401)));
    let mut gateway = gateway(&service, port, "");
    let prometheus = Prometheus::start(gateway.metrics_port());
    eventually("it is scraped", || prometheus.is_up(), |up| *up);
    assert_eq!(prometheus.firing(), Some(BTreeSet::new()));

    let device = Device::start(port, "d1", "t/1", 1, std::time::Duration::ZERO);
    let instance = format!("127.0.0.1:{}", gateway.metrics_port());
    let suspended =
        format!("WaypostSinkSuspended: cloud on {instance} takes nothing until somebody looks");
    let firing = || prometheus.firing().unwrap_or_default();
    eventually("it fires", firing, |firing| firing.iter().eq([&suspended]));
    device.stop();

    gateway.kill();
    let down = format!("WaypostDown: {instance} does not answer");
    eventually("it fires", firing, |firing| firing.contains(&down));
}

#[test]
fn systemd_understands_the_unit_and_finds_it_hardened() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("waypost.service");
    let text = read("systemd/waypost.service");
    // The binary is where the package puts it, or nowhere.
    let here = text.replace("/usr/bin/waypost", env!("CARGO_BIN_EXE_waypost"));
    assert_ne!(here, text);
    fs::write(&unit, here).unwrap();
    let said = succeed(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));
    assert!(!said.contains("waypost.service"), "{said}");
    succeed(
        Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--threshold=20"])
            .arg(&unit),
    );
}

#[test]
fn the_config_of_the_package_is_the_one_of_init_but_for_where_things_are() {
    let starter = fs::read_to_string(deploy("../config/starter.toml")).unwrap();
    let packaged = read("debian/waypost.toml");
    let differs = |one: &str, other: &str| {
        let other: BTreeSet<&str> = other.lines().collect();
        one.lines().filter(|line| !other.contains(line)).collect::<Vec<_>>().join("\n")
    };
    expect![[r##"
        # There are more keys: /usr/share/doc/waypost/config/waypost.toml has all of them with their defaults.
        # Everything durable: on the disk that is to survive a power cut.
        #data_dir = "/var/lib/waypost"
        # What `waypost status` and other commands talk to: members of the group `waypost` may.
        admin_socket = "/run/waypost/admin.sock""##]].assert_eq(&differs(&packaged, &starter));
}

#[test]
fn the_package_has_the_program_its_unit_and_its_config_and_all_its_files_are_there() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(manifest.join("Cargo.toml")).unwrap();
    let package: toml::Table = toml::from_str(&text).unwrap();
    let package = &package["package"]["metadata"]["deb"];
    let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
    let assets = package["assets"].as_array().unwrap();
    let assets: Vec<_> = assets.iter().map(|asset| (text(&asset[0]), text(&asset[1]))).collect();
    for (from, _) in &assets {
        // What is built, and a pattern.
        let is_there = from.starts_with("target/") || manifest.join(from).exists();
        assert!(is_there || from.contains('*'), "{from} is not there");
    }
    let has = |from: &str, to: &str| assets.contains(&(from.to_owned(), to.to_owned()));
    assert!(has("target/release/waypost", "usr/bin/"), "{assets:?}");
    assert!(has("deploy/debian/waypost.toml", "etc/waypost/"), "{assets:?}");
    let unit = text(&package["systemd-units"]["unit-name"]) + ".service";
    let units = manifest.join(text(&package["systemd-units"]["unit-scripts"]));
    assert!(units.join(&unit).exists(), "{unit} is not there");
    assert!(manifest.join(text(&package["maintainer-scripts"])).join("postinst").exists());
}
