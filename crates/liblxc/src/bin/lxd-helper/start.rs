//! Starts a container, checks a configuration, tells what the library can do.

use std::ffi::CString;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use liblxc::container::{self, Container};
use liblxc::protocol::{EXTENSIONS, Started};

/// How much of the log's end is searched for errors, in bytes.
const LOG_TAIL: u64 = 16 << 10;

/// Starts a container and prints its processes once it is RUNNING; nothing if its init has ended again by then.
pub(crate) fn start(name: &str, lxcpath: &Path, config: &Path) -> Result<(), String> {
    let container = Container::new(name, lxcpath).map_err(|e| e.to_string())?;
    container.load_config(config).map_err(|e| e.to_string())?;
    let log = container.config_item("lxc.log.file").unwrap_or_default();
    let old = std::fs::metadata(&log).map_or(0, |file| file.len());
    if let Err(error) = container.start_daemonized() {
        let lines = errors(Path::new(&log), old);
        return Err(if lines.is_empty() {
            error.to_string()
        } else {
            lines
        });
    }
    let Some((init, monitor)) = container
        .init_pid()
        .ok()
        .and_then(|init| Some((init, parent(init)?)))
    else {
        return Ok(());
    };
    std::io::stdout()
        .write_all(Started { init, monitor }.to_line().as_bytes())
        .map_err(|e| format!("reporting the processes of container {name:?}: {e}"))
}

/// Reads a configuration as a start would.
pub(crate) fn check(config: &Path) -> Result<(), String> {
    let folder = config.parent().unwrap_or(Path::new("/"));
    let container = Container::new("check", folder).map_err(|e| e.to_string())?;
    container.load_config(config).map_err(|e| e.to_string())
}

/// Changes a running container's control group through its monitor, which alone can exchange the program that version 2
/// decides about devices with.
pub(crate) fn set_cgroup(name: &str, lxcpath: &Path, key: &str, value: &str) -> Result<(), String> {
    let container = Container::new(name, lxcpath).map_err(|e| e.to_string())?;
    container.set_cgroup_item(key, value).map_err(|e| e.to_string())
}

/// Prints the version and the known extensions.
pub(crate) fn features() {
    println!("{}", container::version());
    for name in EXTENSIONS {
        if CString::new(name).is_ok_and(|name| container::has_extension(&name)) {
            println!("{name}");
        }
    }
}

/// The messages of the log's lines of level ERROR that were written after `from`, newest last.
fn errors(log: &Path, from: u64) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut file) = std::fs::File::open(log) {
        let length = file.metadata().map_or(0, |file| file.len());
        // A log shorter than before was rotated.
        let from = if length < from { 0 } else { from }.max(length.saturating_sub(LOG_TAIL));
        if file.seek(SeekFrom::Start(from)).is_err() || file.take(LOG_TAIL).read_to_end(&mut bytes).is_err() {
            return String::new();
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter_map(message).collect();
    lines.join("\n")
}

/// What an ERROR line says, without its time stamp: `lxc NAME DATE ERROR MODULE - FILE:FUNCTION:LINE - text`.
fn message(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(" ERROR ")?;
    Some(rest.splitn(3, " - ").last().unwrap_or(rest))
}

/// The parent of a process, from the fourth field of its stat file.
pub(crate) fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_error_lines_are_told_without_their_origin() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("lxc.log");
        let line = |level: &str, text: &str| format!("lxc c 2026 {level} conf - ../conf.c:run:1 - {text}\n");
        let old = line("ERROR", "old");
        std::fs::write(
            &log,
            format!("{old}{}{}", line("WARN", "noise"), line("ERROR", "a - b")),
        )
        .unwrap();
        assert_eq!(errors(&log, old.len() as u64), "a - b");
        assert_eq!(
            errors(&log, 1 << 20),
            "old\na - b",
            "a rotated log is read from its start"
        );
        assert_eq!(errors(&folder.path().join("none"), 0), "");
    }
}
