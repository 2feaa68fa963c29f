//! Failures and their HTTP status: the only place where kinds of errors become status codes.

use http::header::{CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode};
use http_body_util::{Either, Full};
use lxd_api::envelope::ErrorResponse;
use lxd_core::Error;
use lxd_model::{ErrorKind, Invalid};

use super::answer::Answer;
use super::json;

/// Why a request failed, as the caller sees it.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    text: String,
}

impl Failure {
    /// A failure of a kind.
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self {
            status: status(kind),
            text: text.into(),
        }
    }

    /// The request is wrong.
    pub(crate) fn bad_request(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadRequest, text)
    }

    /// No such path.
    pub(crate) fn not_found() -> Self {
        Self::new(ErrorKind::NotFound, "not found")
    }

    /// The caller may not do this.
    pub(crate) fn not_authorized() -> Self {
        Self::new(ErrorKind::Forbidden, "not authorized")
    }

    /// An answer that could not be encoded: our mistake.
    pub(crate) fn encoding(error: serde_json::Error) -> Self {
        Error::from_source(ErrorKind::Internal, error).into()
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The text that the caller sees.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The answer that says so. As with the reference, its body ends in an empty line.
    pub(crate) fn into_answer(self) -> Answer {
        let mut body = Vec::with_capacity(128 + self.text.len());
        if json::append(&mut body, &ErrorResponse::new(self.status.as_u16(), self.text)).is_err() {
            body.clear();
        }
        body.extend_from_slice(b"\n\n");
        let mut answer = Response::new(Either::Left(Full::new(body.into())));
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        answer
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(error.kind(), error.text())
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Self::new(invalid.kind(), invalid.to_string())
    }
}

fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::BadRequest => StatusCode::BAD_REQUEST,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        ErrorKind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Cancelled | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn a_failure_reads_as_the_references_to_the_byte() {
        let answer = Failure::not_found().into_answer();
        assert_eq!(answer.status(), 404);
        assert_eq!(answer.headers()["content-type"], "application/json");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(
            body,
            concat!(
                r#"{"type":"error","status":"","status_code":0,"operation":"","error_code":404,"#,
                r#""error":"not found","metadata":null}"#,
                "\n\n"
            )
        );
        assert_eq!(body.len(), 114);
    }
}
