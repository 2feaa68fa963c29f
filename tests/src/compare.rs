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
    (
        r"(?m)^( *(?:usage|usage_peak|bytes_received|bytes_sent|packets_received|packets_sent|pid|processes): )[1-9]\d*",
        "${1}N",
    ),
    (
        r#"("(?:usage|usage_peak|bytes_received|bytes_sent|packets_received|packets_sent|pid|processes)":)[1-9]\d*"#,
        "${1}N",
    ),
    // With mapped mounts there is nothing shifted on disk; the reference shifts where it does not see that it need not.
    (r"(volatile.last_state.idmap: )'\[.*\]'", "${1}MAP"),
    (r#"("volatile.last_state.idmap":)"\[[^]]*\]""#, "${1}MAP"),
    // Progress, which the reference draws into pipes, too.
    (r"[^\n]*\r", ""),
    // Bridges of other tests and servers.
    (r"(?m)^.*\blxt[0-9a-f]{6}\b.*\n(?:\+[-+]+\n)?", ""),
    // The reference says this or not, as its timing goes.
    (r"(?m)^Try `lxc info --show-log .*\n", ""),
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

/// Runs the same client command on both servers, each with its own client; what differs in output and exit code.
#[track_caller]
pub fn difference(ours: &Server, reference: &Server, args: &[&str]) -> Option<String> {
    let run = |server: &Server| {
        let args: Vec<String> = args
            .iter()
            .map(|arg| arg.replace("BRIDGE", server.bridge()))
            .collect();
        let done = server.lxc(&args.iter().map(String::as_str).collect::<Vec<_>>());
        let texts = format!("{}{}exit {}\n", done.out, done.err, done.code);
        normalised(server, &texts)
    };
    let (a, b) = (run(ours), run(reference));
    // The reference lists these in the order of a Go map, which changes from call to call.
    let is_unordered = ["info", "image info", "profile device list"]
        .iter()
        .any(|name| args.join(" ").starts_with(name));
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    if a == b || (is_unordered && sorted(&a) == sorted(&b)) {
        return None;
    }
    let (a, b): (Vec<&str>, Vec<&str>) = (a.lines().collect(), b.lines().collect());
    let mut text = format!("lxc {}\n", args.join(" "));
    for (line, mark, others) in a
        .iter()
        .map(|line| (line, "ours     ", &b))
        .chain(b.iter().map(|line| (line, "reference", &a)))
    {
        if !others.contains(line) {
            text += &format!("  {mark} | {line}\n");
        }
    }
    Some(text)
}
