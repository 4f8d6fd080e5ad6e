//! Compresses bodies, once for all attempts.

use std::io::Write as _;

use flate2::Compression as Level;
use flate2::write::GzEncoder;
use http::HeaderValue;
use hyper::body::Bytes;
use tracing::error;

use crate::config::Compression;
use crate::delivery::request::Message;

/// Compressing more than this takes too long for a thread on which others wait.
const INLINE_BYTES_MAX: usize = 16 * 1024;

/// What is sent as body, and as `content-encoding`. A body that does not get smaller is sent as it is.
pub(super) async fn body(
    message: &Message,
    compression: Compression,
) -> (Bytes, Option<HeaderValue>) {
    let name = match compression {
        Compression::None => return (message.body.clone(), None),
        Compression::Gzip => HeaderValue::from_static("gzip"),
        Compression::Zstd => HeaderValue::from_static("zstd"),
    };
    let encoded = message.encoded.get_or_init(|| encoded(message.body.clone(), compression)).await;
    if encoded.len() < message.body.len() {
        (encoded.clone(), Some(name))
    } else {
        (message.body.clone(), None)
    }
}

async fn encoded(body: Bytes, compression: Compression) -> Bytes {
    if body.len() <= INLINE_BYTES_MAX {
        return compressed(&body, compression);
    }
    let plain = body.clone();
    let encoded = tokio::task::spawn_blocking(move || compressed(&body, compression)).await;
    encoded.unwrap_or(plain)
}

fn compressed(body: &Bytes, compression: Compression) -> Bytes {
    let encoded = match compression {
        Compression::None => return body.clone(),
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Level::default());
            encoder.write_all(body).and_then(|()| encoder.finish())
        }
        Compression::Zstd => zstd::bulk::compress(body, zstd::DEFAULT_COMPRESSION_LEVEL),
    };
    match encoded {
        Ok(encoded) => encoded.into(),
        Err(error) => {
            error!(%error, "body cannot be compressed");
            body.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_is_compressed_comes_out_again() {
        for length in [0, 1, 1000, 300_000] {
            let body: Bytes = (0..length).map(|n: u32| n.to_le_bytes()[0] / 16).collect();
            let mut plain = Vec::new();
            let gzip = compressed(&body, Compression::Gzip);
            flate2::read::GzDecoder::new(&gzip[..]).read_to_end(&mut plain).unwrap();
            assert!(plain == body, "gzip, {length} bytes");
            let zstd = compressed(&body, Compression::Zstd);
            assert!(zstd::decode_all(&zstd[..]).unwrap() == body, "zstd, {length} bytes");
        }
    }
}
