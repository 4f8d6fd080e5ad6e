//! An HTTP service that speaks whatever the client wants to, and remembers what that was.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// HTTP version, headers and length of the body of each request.
type Seen = Arc<Mutex<Vec<(Version, http::HeaderMap, usize)>>>;

/// The service; answers 200 to everything.
#[derive(Debug)]
pub struct AnyVersion {
    pub port: u16,
    seen: Seen,
    _runtime: Runtime,
}

impl AnyVersion {
    /// With TLS where there is a config for it.
    pub fn start(tls: Option<rustls::ServerConfig>) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Seen::default();
        let tls = tls.map(|tls| TlsAcceptor::from(Arc::new(tls)));
        runtime.spawn(accept(listener, tls, Arc::clone(&seen)));
        Self { port, seen, _runtime: runtime }
    }

    /// What each request was sent with.
    pub fn versions(&self) -> Vec<Version> {
        self.seen.lock().unwrap().iter().map(|(version, _, _)| *version).collect()
    }

    /// The value of a header of each request, empty where it has none.
    pub fn header(&self, name: &str) -> Vec<String> {
        let value = |headers: &http::HeaderMap| {
            headers.get(name).map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
        };
        self.seen.lock().unwrap().iter().map(|(_, headers, _)| value(headers)).collect()
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, seen: Seen) {
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let (tls, seen) = (tls.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            match tls {
                None => serve(tcp, seen).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(tcp).await {
                        serve(stream, seen).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, seen: Seen) {
    let answer = |request: Request<Incoming>| {
        let seen = Arc::clone(&seen);
        async move {
            let (head, body) = request.into_parts();
            let length = body.collect().await.map_or(0, |body| body.to_bytes().len());
            seen.lock().unwrap().push((head.version, head.headers, length));
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
        }
    };
    let builder = Builder::new(TokioExecutor::new());
    drop(builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await);
}
