//! The body of a request, read whole.

use bytes::{Bytes, BytesMut};
use http_body::Body;
use hyper::body::Incoming;
use openorder_rpc::Refusal;
use tonic::Status;

/// Reads the body up to the limit. One frame, the usual case, is not copied.
pub(crate) async fn read_whole(mut body: Incoming, limit: usize) -> Result<Bytes, Status> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Refusal::request_too_large(limit));
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(data) = next_data(&mut body).await? {
        if first.len() + all.len() + data.len() > limit {
            return Err(Refusal::request_too_large(limit));
        }
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.reserve(first.len() + data.len());
            all.extend_from_slice(&first);
            first = Bytes::new();
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

async fn next_data(body: &mut Incoming) -> Result<Option<Bytes>, Status> {
    loop {
        let frame = std::future::poll_fn(|context| std::pin::Pin::new(&mut *body).poll_frame(context)).await;
        match frame {
            None => return Ok(None),
            // The caller went away, or broke the protocol: nobody will read what it is told.
            Some(Err(_)) => return Err(Refusal::cancelled()),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data()
                    && !data.is_empty()
                {
                    return Ok(Some(data));
                }
            }
        }
    }
}
