//! Requests, right and wrong, over the unix socket.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::json;

use crate::harness::Daemon;

#[test]
fn answers_are_the_references_to_the_byte() {
    let daemon = Daemon::start();
    let error = |code: u16, text: &str| {
        let error = json!(text);
        format!(
            "{{\"type\":\"error\",\"status\":\"\",\"status_code\":0,\"operation\":\"\",\"error_code\":{code},\
             \"error\":{error},\"metadata\":null}}\n\n"
        )
    };
    for (method, path, status, body) in [
        ("GET", "/1.0/nothing", 404, error(404, "not found")),
        ("GET", "/1.0/profiles/", 404, error(404, "not found")),
        ("DELETE", "/1.0", 501, error(501, "not implemented")),
        (
            "TRACE",
            "/1.0/profiles",
            404,
            error(404, "Method \"TRACE\" not found"),
        ),
        (
            "GET",
            "/1.0/operations/abc",
            404,
            error(404, "Operation not found"),
        ),
        (
            "GET",
            "/1.0/operations/abc/websocket",
            400,
            error(400, "missing secret"),
        ),
        (
            "GET",
            "/1.0/events?type=foo",
            500,
            error(500, "\"foo\" isn't a supported event type"),
        ),
        (
            "GET",
            "/1.0/profiles?project=nope",
            404,
            error(404, "Failed loading project \"nope\": Project not found"),
        ),
    ] {
        let answer = daemon.ask(method, path, &[], "");
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (status, body.as_str()),
            "{method} {path}"
        );
        assert_eq!(answer.header("Content-Type").as_deref(), Some("application/json"));
        assert_eq!(
            answer.header("X-Content-Type-Options").as_deref(),
            Some("nosniff")
        );
    }
    let list = daemon.get("/1.0/profiles");
    let wanted = "{\"type\":\"sync\",\"status\":\"Success\",\"status_code\":200,\"operation\":\"\",\"error_code\":0,\
                  \"error\":\"\",\"metadata\":[\"/1.0/profiles/default\"]}\n";
    assert_eq!(list.body, wanted);
    assert_eq!(daemon.ask("OPTIONS", "/1.0", &[], "").status, 200);
    let plain = daemon.get("/1.0/events");
    assert_eq!((plain.status, plain.body.as_str()), (400, "Bad Request\n"));
    assert_eq!(plain.header("Sec-Websocket-Version").as_deref(), Some("13"));
}

#[test]
fn bad_bodies_are_refused_with_the_reason() {
    let daemon = Daemon::start();
    let put = |body: &str| {
        let answer = daemon.ask("PUT", "/1.0/profiles/default", &[], body);
        (answer.status, answer.error())
    };
    assert_eq!(put(""), (400, "EOF".into()));
    assert_eq!(put("{"), (400, "unexpected EOF".into()));
    for (body, named) in [
        ("[]", "array"),
        ("{\"config\": 3}", "config"),
        ("{\"config\": {\"a\": 3}}", "ProfilePut.config of type string"),
    ] {
        let (status, error) = put(body);
        assert_eq!(status, 400);
        assert!(error.contains(named), "{body}: {error}");
    }
    let big = format!("{{\"description\": \"{}\"}}", "x".repeat(17 << 20));
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    write!(
        stream,
        "PUT /1.0/profiles/default HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        big.len()
    )
    .unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 413", "the answer does not wait for the body");
    assert_eq!(
        daemon.get("/1.0/profiles/default").metadata()["description"],
        "Default LXD profile"
    );
}

#[test]
fn a_change_needs_the_state_that_it_was_made_for() {
    let daemon = Daemon::start();
    assert_eq!(
        daemon
            .send("POST", "/1.0/profiles", &json!({"name": "p1"}))
            .header("Location")
            .unwrap(),
        "/1.0/profiles/p1"
    );
    let seen = daemon.get("/1.0/profiles/p1").header("Etag").unwrap();
    let change = json!({"description": "d"}).to_string();
    for method in ["PUT", "PATCH"] {
        let refused = daemon.ask(method, "/1.0/profiles/p1", &[("If-Match", "abc")], &change);
        assert_eq!(refused.status, 412);
        assert!(
            refused.error().starts_with("ETag doesn't match: "),
            "{}",
            refused.error()
        );
    }
    assert_eq!(
        daemon
            .ask("PUT", "/1.0/profiles/p1", &[("If-Match", &seen)], &change)
            .status,
        200
    );
    assert_ne!(daemon.get("/1.0/profiles/p1").header("Etag").unwrap(), seen);
}

#[test]
fn a_connection_carries_many_requests() {
    let daemon = Daemon::start();
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    for body in ["", "null", ""] {
        // Some clients send a body where none is wanted, and send it after the head.
        let length = body.len();
        write!(
            stream,
            "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
        )
        .unwrap();
        std::thread::sleep(Duration::from_millis(20));
        write!(stream, "{body}").unwrap();
        let mut answer = Vec::new();
        let mut chunk = [0; 1024];
        while !answer.ends_with(b"[\"/1.0\"]}\n") {
            let count = stream.read(&mut chunk).unwrap();
            assert!(count > 0);
            answer.extend_from_slice(&chunk[..count]);
        }
    }
}

#[test]
fn the_network_address_follows_the_configuration() {
    let daemon = Daemon::start();
    let set = |address: &str| {
        daemon.send(
            "PATCH",
            "/1.0",
            &json!({"config": {"core.https_address": address}}),
        )
    };
    let shown = || daemon.get("/1.0").metadata()["config"]["core.https_address"].clone();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = set(&address);
    assert_eq!(refused.status, 500);
    let wanted = format!(
        "Cannot listen on network HTTPS socket \"{address}\": listen tcp {address}: bind: address already in use"
    );
    assert_eq!(refused.error(), wanted);
    assert!(shown().is_null(), "what failed is not stored");
    drop(taken);
    assert_eq!(set(&address).status, 200);
    assert_eq!(shown(), address);
    assert_eq!(
        daemon.get("/1.0").metadata()["environment"]["addresses"],
        json!([address])
    );
    std::net::TcpStream::connect(&address).unwrap();
    // The same port of all addresses can be had only once the old one is given up.
    let port = address.rsplit_once(':').unwrap().1;
    assert_eq!(set(&format!(":{port}")).status, 200);
    std::net::TcpStream::connect(&address).unwrap();
    assert_eq!(set("").status, 200);
    assert!(std::net::TcpStream::connect(&address).is_err());
}

#[test]
fn secrets_and_only_they_stay_out_of_the_log() {
    let daemon = Daemon::start();
    assert_eq!(
        daemon.get("/1.0/operations/x/websocket?secret=hidden123").status,
        404
    );
    daemon.send(
        "PATCH",
        "/1.0",
        &json!({"config": {"core.trust_password": "hidden456"}}),
    );
    let log = daemon.log();
    assert!(
        log.contains("url=\"/1.0/operations/x/websocket?secret=...\""),
        "{log}"
    );
    assert!(!log.contains("hidden"), "{log}");
}
