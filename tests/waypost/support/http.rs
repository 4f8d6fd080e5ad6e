//! An HTTP service that does what the test says, one request at a time, on raw sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// What to do with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Answer with this status and nothing special.
    Status(u16),
    /// Answer with this status and header lines (without line ends).
    With(u16, Vec<String>),
    /// Answer 200 after this long.
    Slow(Duration),
    /// Read the request and never answer.
    Hang,
    /// Answer 200 and close, without having said so.
    OkAndClose,
    /// Close in the middle of the answer.
    Cut,
    /// Close without an answer.
    Close,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    pub at: Instant,
    pub method: String,
    pub target: String,
    /// Lower-case names.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// What it was answered; 0 for no answer.
    pub status: u16,
    /// Answered 2xx: the receiver has it.
    pub accepted: bool,
}

impl Request {
    /// The records in the body: an array, lines, or one object.
    pub fn records(&self) -> Vec<Value> {
        match serde_json::from_slice(&self.body) {
            Ok(Value::Array(records)) => records,
            Ok(record) => vec![record],
            Err(_) => {
                let lines = self.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
            }
        }
    }
}

type Script = Arc<Mutex<Box<dyn FnMut(&Request) -> Reply + Send>>>;

/// A connection, with or without TLS.
trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

/// Makes a connection out of a TCP connection.
type Wrap = Arc<dyn Fn(TcpStream) -> io::Result<Box<dyn Duplex>> + Send + Sync>;

/// The service. Dropping it closes the port.
pub struct Server {
    pub port: u16,
    scheme: &'static str,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<Request>>>,
    script: Script,
    stopped: Arc<AtomicBool>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Server({})", self.port)
    }
}

impl Server {
    /// Answers 200 to everything.
    pub fn start() -> Self {
        Self::scripted(|_| Reply::Status(200))
    }

    /// Answers as `script` says.
    pub fn scripted(script: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::on(listener, plain(), script)
    }

    /// Answers 200 to everything that comes over TLS.
    pub fn start_tls(tls: rustls::ServerConfig) -> Self {
        let tls = Arc::new(tls);
        let wrap: Wrap = Arc::new(move |tcp| {
            let session = rustls::ServerConnection::new(Arc::clone(&tls));
            let session = session.map_err(io::Error::other)?;
            Ok(Box::new(rustls::StreamOwned::new(session, tcp)))
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = Self::on(listener, wrap, |_| Reply::Status(200));
        server.scheme = "https";
        server
    }

    /// As [`Self::scripted`], on a port chosen before.
    pub fn on_port(port: u16, script: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        Self::on(TcpListener::bind(("127.0.0.1", port)).unwrap(), plain(), script)
    }

    fn on(
        listener: TcpListener,
        wrap: Wrap,
        script: impl FnMut(&Request) -> Reply + Send + 'static,
    ) -> Self {
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let script: Script = Arc::new(Mutex::new(Box::new(script)));
        let stopped = Arc::new(AtomicBool::new(false));
        let connections = Arc::new(AtomicUsize::new(0));
        let (taken, answers, stop, count) = (
            Arc::clone(&requests),
            Arc::clone(&script),
            Arc::clone(&stopped),
            Arc::clone(&connections),
        );
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(connection) = connection else { return };
                count.fetch_add(1, Ordering::Relaxed);
                let wrap = Arc::clone(&wrap);
                let (taken, answers) = (Arc::clone(&taken), Arc::clone(&answers));
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || {
                    drop(connection.set_nodelay(true));
                    if let Ok(connection) = wrap(connection) {
                        serve(connection, &taken, &answers, &stop);
                    }
                });
            }
        });
        Self { port, scheme: "http", connections, requests, script, stopped }
    }

    /// Changes what is answered from here on.
    pub fn answer(&self, script: impl FnMut(&Request) -> Reply + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// TCP connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// All records of requests that were answered 2xx, in order of arrival.
    pub fn records(&self) -> Vec<Value> {
        // Read without the lock, for which the service waits.
        let requests = self.requests();
        requests.iter().filter(|request| request.accepted).flat_map(Request::records).collect()
    }

    /// The `n` of every `{"device":..,"n":..}` payload accepted from `device`.
    pub fn numbers(&self, device: &str) -> BTreeSet<u64> {
        self.sequence(device).into_iter().collect()
    }

    /// As [`Self::numbers`], in order of arrival, repeats included.
    pub fn sequence(&self, device: &str) -> Vec<u64> {
        let payloads = self.records().into_iter().filter_map(|record| {
            let payload: Value = serde_json::from_str(record["payload"].as_str()?).ok()?;
            (payload["device"] == device).then(|| payload["n"].as_u64().unwrap())
        });
        payloads.collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the accepting thread.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn plain() -> Wrap {
    Arc::new(|tcp| Ok(Box::new(tcp)))
}

fn serve(
    connection: Box<dyn Duplex>,
    taken: &Mutex<Vec<Request>>,
    script: &Script,
    stop: &AtomicBool,
) {
    let mut reader = BufReader::new(connection);
    while let Some(mut request) = read_request(&mut reader) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let reply = (*script.lock().unwrap())(&request);
        let status = match &reply {
            Reply::Status(status) | Reply::With(status, _) => *status,
            Reply::Slow(_) | Reply::OkAndClose => 200,
            Reply::Hang | Reply::Cut | Reply::Close => 0,
        };
        request.status = status;
        request.accepted = (200..300).contains(&status);
        taken.lock().unwrap().push(request);
        if !answer(reader.get_mut(), status, &reply) {
            return;
        }
    }
}

/// Writes the answer; false when the connection ends with it.
fn answer(writer: &mut dyn Duplex, status: u16, reply: &Reply) -> bool {
    // RFC 9110 has no body with these.
    let body = if matches!(status, 204 | 304) { "" } else { "ok" };
    let mut head = format!("HTTP/1.1 {status} X\r\n");
    if !body.is_empty() {
        head += "content-length: 2\r\n";
    }
    match reply {
        Reply::Status(_) | Reply::OkAndClose => {}
        Reply::With(_, lines) => lines.iter().for_each(|line| head += &format!("{line}\r\n")),
        Reply::Slow(delay) => {
            #[expect(clippy::disallowed_methods, reason = "a slow service is slow")]
            std::thread::sleep(*delay);
        }
        Reply::Hang => {
            // Until the other side gives up.
            drop(writer.read(&mut [0]));
            return false;
        }
        Reply::Cut => {
            drop(writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"));
            return false;
        }
        Reply::Close => return false,
    }
    let is_written = writer.write_all(format!("{head}\r\n{body}").as_bytes()).is_ok();
    is_written && !matches!(reply, Reply::OkAndClose)
}

fn read_request(reader: &mut BufReader<Box<dyn Duplex>>) -> Option<Request> {
    let mut line = String::new();
    let mut next_line = |reader: &mut BufReader<Box<dyn Duplex>>| {
        line.clear();
        match reader.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
        }
    };
    let first = next_line(reader)?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let header = next_line(reader)?;
        let Some((name, value)) = header.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { at: Instant::now(), method, target, headers, body, status: 0, accepted: false })
}

/// GET on loopback: status and body. `None` while nobody answers.
pub fn get(port: u16, path: &str) -> Option<(u16, String)> {
    get_over(TcpStream::connect(("127.0.0.1", port)).ok()?, path)
}

/// As [`get`], over a Unix socket.
pub fn get_from_socket(socket: &std::path::Path, path: &str) -> Option<(u16, String)> {
    get_over(std::os::unix::net::UnixStream::connect(socket).ok()?, path)
}

fn get_over(mut connection: impl Read + Write, path: &str) -> Option<(u16, String)> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
