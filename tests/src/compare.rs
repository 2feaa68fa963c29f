//! Comparing what two daemons and their clients print for the same state.

use regex_lite::Regex;

use crate::server::Server;

/// What differs between two servers that are in the same state, and what it is replaced by.
const VARIABLE: &[(&str, &str)] = &[
    (
        r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "UUID",
    ),
    (r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", "MAC"),
    (r"veth[0-9a-f]{8}", "VETH"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z", "TIME"),
    (r"\d{4}/\d\d/\d\d \d\d:\d\d UTC", "TIME"),
    (
        r"\b[A-Z][a-z]{2} \d{1,2}, \d{4} at \d{1,2}:\d\d[ap]m \(UTC\)",
        "TIME",
    ),
    (r"\b10\.\d{1,3}\.\d{1,3}\.\d{1,3}(/\d+)?", "IPV4$1"),
    (r"\bfd[0-9a-f]{2}:[0-9a-f:]+(/\d+)?", "IPV6$1"),
    (r"\bfe80:[0-9a-f:]+(/\d+)?", "LINK$1"),
    (r"(?m)^PID: \d+", "PID: N"),
    (r"(?m)^( *Processes: )\d+", "${1}N"),
    (r"(?m)^( +CPU usage \(in seconds\): )\d+", "${1}N"),
    (
        r"(?m)^( +(?:Memory|Memory \(current\)|Memory \(peak\)|Bytes received|Bytes sent|Packets received|Packets sent): ).*",
        "${1}N",
    ),
];

/// Text with all that may differ between servers replaced.
pub fn normalised(server: &Server, text: &str) -> String {
    let mut text = text
        .replace(server.dir().to_str().unwrap(), "LXD_DIR")
        .replace(server.bridge(), "BRIDGE");
    for (pattern, replacement) in VARIABLE {
        text = Regex::new(pattern)
            .unwrap()
            .replace_all(&text, *replacement)
            .into_owned();
    }
    // Cells that held addresses differ in width: blanks and rules are squeezed in tables that have them.
    if text.contains("IPV4") || text.contains("IPV6") || text.contains("MAC") {
        text = Regex::new(r" {2,}").unwrap().replace_all(&text, " ").into_owned();
        text = Regex::new(r"-{2,}")
            .unwrap()
            .replace_all(&text, "--")
            .into_owned();
    }
    text
}

/// Runs the same client command on both servers, each with its own client, and compares exit code and output.
#[track_caller]
pub fn same(ours: &Server, reference: &Server, args: &[&str]) {
    let on = |server: &Server| -> Vec<String> {
        args.iter()
            .map(|arg| arg.replace("BRIDGE", server.bridge()))
            .collect()
    };
    let run = |server: &Server| {
        let args = on(server);
        server.lxc(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let (a, b) = (run(ours), run(reference));
    let (a_text, b_text) = (normalised(ours, &a.out), normalised(reference, &b.out));
    assert!(
        a_text == b_text,
        "lxc {}: the output differs\n--- ours\n{a_text}\n--- reference\n{b_text}\n--- errors\n{}\n{}",
        args.join(" "),
        a.err,
        b.err
    );
    let (a_text, b_text) = (normalised(ours, &a.err), normalised(reference, &b.err));
    assert_eq!(a_text, b_text, "lxc {}: the error text differs", args.join(" "));
    assert_eq!(a.code, b.code, "lxc {}: the exit code differs", args.join(" "));
}
