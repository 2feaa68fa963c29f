//! Requests on a daemon's unix socket without a client program between: thousands of them take seconds.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;

use crate::server::Server;

/// What became of a request: the status, of the answer or of the operation that it named, and the error's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// The answer's HTTP status.
    pub code: u16,
    /// The operation's status; zero where there is no operation.
    pub status: u64,
    /// Why it failed; empty where it did not.
    pub error: String,
}

/// One request; the status and the decoded envelope.
#[track_caller]
pub fn ask(server: &Server, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let mut socket = UnixStream::connect(server.dir().join("unix.socket")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    // Version 1.0 answers in one piece and ends.
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: lxd\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    let value = serde_json::from_str(body).unwrap_or_else(|why| panic!("{method} {path}: {why}: {answer}"));
    (code, value)
}

/// One request, and what becomes of it in the end.
#[track_caller]
pub fn fate(server: &Server, method: &str, path: &str, body: &Value) -> Fate {
    let (code, answer) = ask(server, method, path, body);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let operation = text(&answer["operation"]);
    if operation.is_empty() {
        return Fate {
            code,
            status: 0,
            error: text(&answer["error"]),
        };
    }
    let (_, done) = ask(
        server,
        "GET",
        &format!("{operation}/wait?timeout=60"),
        &Value::Null,
    );
    Fate {
        code,
        status: done["metadata"]["status_code"].as_u64().unwrap_or_default(),
        error: text(&done["metadata"]["err"]),
    }
}
