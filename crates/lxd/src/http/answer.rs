//! Answers: the envelope around metadata, headers, and bodies that are streamed.

use std::io;

use bytes::Bytes;
use futures::Stream;
use futures::StreamExt as _;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue, LOCATION};
use http::{HeaderName, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use hyper::body::Frame;
use lxd_core::etag::Tagged;
use lxd_model::filter::Filter;
use serde::Serialize;

use super::error::Failure;
use super::json;

/// The body of an answer: whole, or streamed.
pub(crate) type Body = Either<Full<Bytes>, UnsyncBoxBody<Bytes, io::Error>>;

/// An answer.
pub(crate) type Answer = Response<Body>;

/// What a handler gives.
pub(crate) type Outcome = Result<Answer, Failure>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const SYNC: &[u8] =
    br#"{"type":"sync","status":"Success","status_code":200,"operation":"","error_code":0,"error":"","metadata":"#;

/// 200 with metadata.
pub(crate) fn sync<T: Serialize + ?Sized>(metadata: &T) -> Outcome {
    Ok(encoded(envelope(metadata)?))
}

/// 200 with an object and its `ETag` header.
pub(crate) fn tagged<T: Serialize>(object: &Tagged<T>) -> Outcome {
    let mut answer = sync(&object.value)?;
    set_etag(&mut answer, &object.etag);
    Ok(answer)
}

/// 200 with nothing to say: `{}`.
pub(crate) fn empty() -> Outcome {
    let mut body = Vec::with_capacity(SYNC.len() + 4);
    body.extend_from_slice(SYNC);
    body.extend_from_slice(b"{}}\n");
    Ok(encoded(body.into()))
}

/// 201: made, at the given path.
pub(crate) fn created(location: &str) -> Outcome {
    let mut answer = sync(&())?;
    *answer.status_mut() = StatusCode::CREATED;
    set_location(&mut answer, location);
    Ok(answer)
}

/// 202: goes on as an operation.
pub(crate) fn in_background(operation: &lxd_core::operations::Operation) -> Outcome {
    let url = operation.url();
    let mut body = Vec::with_capacity(1024);
    let whole = lxd_api::envelope::Response::in_background(url.clone(), operation.wire());
    json::append(&mut body, &whole).map_err(Failure::encoding)?;
    body.push(b'\n');
    let mut answer = encoded(body.into());
    *answer.status_mut() = StatusCode::ACCEPTED;
    set_location(&mut answer, &url);
    Ok(answer)
}

/// 200 with those objects of a list that a filter lets through; the URLs of them unless the list is to be deep.
pub(crate) fn list<T: Serialize>(
    objects: &[T],
    filter: Option<&Filter>,
    is_deep: bool,
    url: impl Fn(&T) -> String,
) -> Outcome {
    let mut wanted: Vec<&T> = Vec::with_capacity(objects.len());
    for object in objects {
        let is_wanted = match filter.filter(|filter| !filter.is_empty()) {
            Some(filter) => filter.matches(&serde_json::to_value(object).map_err(Failure::encoding)?),
            None => true,
        };
        if is_wanted {
            wanted.push(object);
        }
    }
    if is_deep {
        sync(&wanted)
    } else {
        sync(&wanted.into_iter().map(url).collect::<Vec<_>>())
    }
}

/// The encoded envelope of a sync answer.
pub(crate) fn envelope<T: Serialize + ?Sized>(metadata: &T) -> Result<Bytes, Failure> {
    let mut body = Vec::with_capacity(512);
    body.extend_from_slice(SYNC);
    json::append(&mut body, metadata).map_err(Failure::encoding)?;
    body.extend_from_slice(b"}\n");
    Ok(body.into())
}

/// 200 with an envelope that is encoded already.
pub(crate) fn encoded(body: Bytes) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(body)));
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    answer
}

/// 200 with bytes that are no JSON.
pub(crate) fn bytes(content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(body.into())));
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// 200 with a body that is read while it is sent; never whole in memory.
pub(crate) fn stream<S>(content_type: &str, length: Option<u64>, body: S) -> Answer
where
    S: Stream<Item = io::Result<Bytes>> + Send + 'static,
{
    let body =
        UnsyncBoxBody::new(StreamBody::new(body.map(|chunk| chunk.map(Frame::data))).map_err(Into::into));
    let mut answer = Response::new(Either::Right(body));
    set_header(&mut answer, CONTENT_TYPE, content_type);
    if let Some(length) = length {
        answer.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    answer
}

/// Nothing but a status.
pub(crate) fn bare(status: StatusCode) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(Bytes::new())));
    *answer.status_mut() = status;
    answer
}

/// Sets a header; a value that no header can hold is left out.
pub(crate) fn set_header(answer: &mut Answer, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

/// Sets the `ETag` header.
pub(crate) fn set_etag(answer: &mut Answer, etag: &str) {
    set_header(answer, ETAG, &format!("\"{etag}\""));
}

fn set_location(answer: &mut Answer, location: &str) {
    set_header(answer, LOCATION, location);
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(answer: Answer) -> String {
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn envelopes_are_those_of_the_reference_to_the_byte() {
        assert_eq!(
            text(sync(&["/1.0"]).unwrap()).await,
            concat!(
                r#"{"type":"sync","status":"Success","status_code":200,"operation":"","error_code":0,"error":"","#,
                r#""metadata":["/1.0"]}"#,
                "\n"
            )
        );
        let made = created("/1.0/profiles/p1").unwrap();
        assert_eq!(made.status(), 201);
        assert_eq!(made.headers()["location"], "/1.0/profiles/p1");
        assert!(text(made).await.ends_with("\"metadata\":null}\n"));
        assert!(text(empty().unwrap()).await.ends_with("\"metadata\":{}}\n"));
    }

    #[tokio::test]
    async fn a_stream_is_sent_as_it_is() {
        let chunks = futures::stream::iter([Ok(Bytes::from("a")), Ok(Bytes::from("b"))]);
        let answer = stream("application/octet-stream", Some(2), chunks);
        assert_eq!(answer.headers()["content-length"], "2");
        assert_eq!(text(answer).await, "ab");
    }
}
