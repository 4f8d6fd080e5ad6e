//! An HTTP proxy: tunnels for CONNECT, forwards everything else, and remembers who asked for what.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The proxy; it ends with the process.
#[derive(Debug)]
pub struct Proxy {
    pub port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    wanted: Arc<Mutex<Option<String>>>,
}

impl Proxy {
    /// Serves only requests with this `proxy-authorization`, and everybody where there is none.
    pub fn start(authorization: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let wanted = Arc::new(Mutex::new(authorization.map(str::to_owned)));
        let (log, key) = (Arc::clone(&asked), Arc::clone(&wanted));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (log, key) = (Arc::clone(&log), Arc::clone(&key));
                std::thread::spawn(move || serve(client.unwrap(), &log, &key));
            }
        });
        Self { port, asked, wanted }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Wants another `proxy-authorization` from now on.
    pub fn want(&self, authorization: &str) {
        *self.wanted.lock().unwrap() = Some(authorization.to_owned());
    }

    /// The first line of every request that was let through.
    pub fn served(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(client: TcpStream, asked: &Mutex<Vec<String>>, wanted: &Mutex<Option<String>>) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let header = |name: &str| {
        let values = head.iter().filter_map(|line| line.split_once(": "));
        let mut values = values.filter(|(other, _)| other.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.to_owned())
    };
    let wanted = wanted.lock().unwrap().clone();
    if wanted.is_some() && header("proxy-authorization") != wanted {
        let refusal = b"HTTP/1.1 407 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        drop({ client }.write_all(refusal));
        return;
    }
    asked.lock().unwrap().push(head[0].clone());
    let mut words = head[0].split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    if method == "CONNECT" {
        let service = TcpStream::connect(target).unwrap();
        (&client).write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        splice(client, service);
        return;
    }
    // One request a connection: enough for what is tested.
    let rest = target.strip_prefix("http://").expect("a forwarded request names the whole URL");
    let (authority, path) = rest.split_once('/').unwrap();
    let mut service = TcpStream::connect(authority).unwrap();
    let headers = head[1..].join("\r\n");
    let request = format!("{method} /{path} HTTP/1.1\r\n{headers}\r\nconnection: close\r\n\r\n");
    service.write_all(request.as_bytes()).unwrap();
    let length = header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    service.write_all(&body).unwrap();
    splice(client, service);
}

fn splice(client: TcpStream, service: TcpStream) {
    let (from_client, to_service) = (client.try_clone().unwrap(), service.try_clone().unwrap());
    let forth = std::thread::spawn(move || pump(from_client, to_service));
    pump(service, client);
    forth.join().unwrap();
}

fn pump(mut from: impl Read, mut to: TcpStream) {
    drop(std::io::copy(&mut from, &mut to));
    drop(to.shutdown(std::net::Shutdown::Both));
}
