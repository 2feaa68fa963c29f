//! The envelope that every answer of the API comes in.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What kind of answer an envelope holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResponseType {
    /// The answer itself, in `metadata`.
    #[default]
    Sync,
    /// The answer comes later, from the operation named in `operation`.
    Async,
    /// The request failed; `error` says why.
    Error,
}

/// An answer as it is sent: fields of the other kinds are there, empty, as the reference sends them.
#[derive(Debug, Clone, Serialize)]
pub struct Response<T> {
    /// The kind of answer.
    #[serde(rename = "type")]
    pub r#type: ResponseType,
    /// The text of `status_code`.
    pub status: String,
    /// 200 or 100; 0 for an error.
    pub status_code: u16,
    /// The path of the operation; empty unless async.
    pub operation: String,
    /// The HTTP status of an error; 0 otherwise.
    pub error_code: u16,
    /// Why the request failed; empty otherwise.
    pub error: String,
    /// The answer.
    pub metadata: T,
}

impl<T> Response<T> {
    /// A finished request.
    pub fn sync(metadata: T) -> Self {
        Self {
            r#type: ResponseType::Sync,
            status: "Success".into(),
            status_code: 200,
            operation: String::new(),
            error_code: 0,
            error: String::new(),
            metadata,
        }
    }

    /// A request that goes on as the operation at the given path.
    pub fn in_background(operation: String, metadata: T) -> Self {
        Self {
            r#type: ResponseType::Async,
            status: "Operation created".into(),
            status_code: 100,
            operation,
            error_code: 0,
            error: String::new(),
            metadata,
        }
    }
}

/// A failed request, as it is sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorResponse {
    /// Always [`ResponseType::Error`].
    #[serde(rename = "type")]
    pub r#type: ResponseType,
    /// Empty.
    #[serde(default)]
    pub status: String,
    /// 0.
    #[serde(default)]
    pub status_code: u16,
    /// Empty.
    #[serde(default)]
    pub operation: String,
    /// The HTTP status.
    pub error_code: u16,
    /// Why the request failed.
    pub error: String,
    /// `null`.
    #[serde(default)]
    pub metadata: Value,
}

impl ErrorResponse {
    /// A failure with its HTTP status and text.
    pub fn new(code: u16, error: impl Into<String>) -> Self {
        Self {
            r#type: ResponseType::Error,
            status: String::new(),
            status_code: 0,
            operation: String::new(),
            error_code: code,
            error: error.into(),
            metadata: Value::Null,
        }
    }
}

/// Any answer, as a client reads it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct AnyResponse {
    /// The kind of answer.
    #[serde(rename = "type")]
    pub r#type: ResponseType,
    /// The text of `status_code`.
    pub status: String,
    /// 200, 100 or 0.
    pub status_code: u16,
    /// The path of the operation of an async answer.
    pub operation: String,
    /// The HTTP status of a failure.
    pub error_code: u16,
    /// Why the request failed.
    pub error: String,
    /// The answer.
    pub metadata: Value,
}
