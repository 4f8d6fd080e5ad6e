//! A broker that posts its web hook: one connection, one request after the other.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Lower-case names.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

/// A connection to a source of type `http`.
pub struct Sender(BufReader<Box<dyn Duplex>>);

impl std::fmt::Debug for Sender {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Sender")
    }
}

impl Sender {
    /// `None` while nobody listens.
    pub fn connect(port: u16) -> Option<Self> {
        Some(Self(BufReader::new(Box::new(open(port)?))))
    }

    /// Over TLS, to a server that must show a certificate for `name`.
    pub fn connect_tls(port: u16, name: &str, tls: rustls::ClientConfig) -> Option<Self> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let session = rustls::ClientConnection::new(Arc::new(tls), name).unwrap();
        let stream = rustls::StreamOwned::new(session, open(port)?);
        Some(Self(BufReader::new(Box::new(stream))))
    }

    /// `None` when the connection ends before the answer has come.
    pub fn post(&mut self, body: impl AsRef<[u8]>) -> Option<Answer> {
        self.request("POST", &[], body.as_ref())
    }

    /// A request with further header lines.
    pub fn request(&mut self, method: &str, headers: &[&str], body: &[u8]) -> Option<Answer> {
        let mut head = format!(
            "{method} /hook HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n",
            body.len()
        );
        for line in headers {
            head += &format!("{line}\r\n");
        }
        head += "\r\n";
        let request = [head.as_bytes(), body].concat();
        // An answer may come although not everything is read.
        drop(self.0.get_mut().write_all(&request));
        drop(self.0.get_mut().flush());
        self.answer()
    }

    /// Bytes that are a request, or not.
    pub fn raw(&mut self, bytes: &[u8]) -> Option<Answer> {
        drop(self.0.get_mut().write_all(bytes));
        self.answer()
    }

    fn answer(&mut self) -> Option<Answer> {
        let status = self.line()?.split(' ').nth(1)?.parse().ok()?;
        let mut headers = BTreeMap::new();
        while let Some((name, value)) = self.line()?.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).ok()?;
        Some(Answer { status, headers, body: String::from_utf8(body).unwrap() })
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
        }
    }
}

fn open(port: u16) -> Option<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_nodelay(true).unwrap();
    // Longer than any answer may take.
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    Some(stream)
}
