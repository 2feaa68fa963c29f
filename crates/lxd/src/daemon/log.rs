//! The log: lines of `key=value` as the reference writes them, to standard error, a file and syslog.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use lxd_core::events::{Hub, log_layer};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Where the log goes and how much of it.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// A file, besides standard error.
    pub(crate) file: Option<PathBuf>,
    /// The host's syslog.
    pub(crate) syslog: bool,
    /// Information.
    pub(crate) verbose: bool,
    /// Everything.
    pub(crate) debug: bool,
}

/// Why the log can't be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The file can't be opened.
    #[error("Failed to open log file {path:?}: {}", errno_text(.reason))]
    File {
        /// The file.
        path: PathBuf,
        /// Why not; part of the text.
        reason: io::Error,
    },
    /// Nobody listens for syslog.
    #[error("Failed to connect to syslog: {}", errno_text(.0))]
    Syslog(io::Error),
}

/// Starts the log of this process; the events stream gets all of it.
///
/// # Errors
/// The file or syslog can't be opened.
pub(crate) fn start(options: &Options, events: &Arc<Hub>) -> Result<(), LogError> {
    let lines = Lines::open(options)?.with_filter(wanted(options));
    // A second start in one process happens in tests only.
    let _ = tracing_subscriber::registry()
        .with(lines)
        .with(log_layer(Arc::clone(events)))
        .try_init();
    Ok(())
}

/// Starts the log of a sub-command, on standard error.
pub(crate) fn start_simple(options: &Options) {
    let lines = Lines {
        file: None,
        syslog: None,
    };
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(wanted(options)))
        .try_init();
}

/// Our own crates at the level asked for, libraries when they warn.
fn wanted(options: &Options) -> Targets {
    let level = match (options.debug, options.verbose) {
        (true, _) => LevelFilter::DEBUG,
        (_, true) => LevelFilter::INFO,
        _ => LevelFilter::WARN,
    };
    ["lxd", "lxd_", "liblxc", "dqlite"]
        .into_iter()
        .fold(Targets::new().with_default(LevelFilter::WARN), |targets, ours| {
            targets.with_target(ours, level)
        })
}

/// What the kernel said, in the words that C libraries and the reference have for it.
pub(crate) fn errno_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

struct Lines {
    file: Option<File>,
    syslog: Option<UnixDatagram>,
}

impl Lines {
    fn open(options: &Options) -> Result<Self, LogError> {
        let file = options.file.as_ref().map(|path| {
            let open = File::options().create(true).append(true).mode(0o600).open(path);
            open.map_err(|reason| LogError::File {
                path: path.clone(),
                reason,
            })
        });
        let syslog = options.syslog.then(|| {
            let socket = UnixDatagram::unbound().map_err(LogError::Syslog)?;
            socket.connect("/dev/log").map_err(LogError::Syslog)?;
            socket.set_nonblocking(true).map_err(LogError::Syslog)?;
            Ok(socket)
        });
        Ok(Self {
            file: file.transpose()?,
            syslog: syslog.transpose()?,
        })
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        let line = fields.line(Timestamp::now(), level);
        // Where standard error or the disk are gone, there is nobody left to tell.
        let _ = io::stderr().write_all(line.as_bytes());
        if let Some(mut file) = self.file.as_ref() {
            let _ = file.write_all(line.as_bytes());
        }
        if let Some(syslog) = &self.syslog {
            let priority = syslog_priority(level);
            let _ = syslog.send(format!("<{priority}>lxd[{}]: {line}", std::process::id()).as_bytes());
        }
    }
}

/// The daemon facility and the level's severity.
fn syslog_priority(level: Level) -> u8 {
    let severity = match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    };
    3 * 8 + severity
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Fields {
    fn line(mut self, now: Timestamp, level: Level) -> String {
        let level = match level {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        self.others.sort_by_key(|(key, _)| *key);
        let now = now.round(jiff::Unit::Second).unwrap_or(now);
        let mut line = format!("time=\"{now}\" level={level} msg=");
        push(&mut line, &self.message);
        for (key, value) in self.others {
            let _ = write!(line, " {key}=");
            push(&mut line, &value);
        }
        line.push('\n');
        line
    }

    fn keep(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.others.push((name.trim_start_matches("r#"), value)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.keep(field, format!("{value:?}"));
    }
}

/// Appends a value, quoted unless it is plain.
fn push(line: &mut String, value: &str) {
    let is_plain = value
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._/@^+".contains(&byte));
    if is_plain {
        line.push_str(value);
    } else {
        let _ = write!(line, "{value:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_references() {
        let fields = Fields {
            message: "AppArmor support has been disabled".into(),
            others: vec![
                ("type", "virtual-machine".into()),
                ("err", "no \"kvm\"".into()),
                ("empty", String::new()),
            ],
        };
        let time: Timestamp = "2026-11-24T03:29:34Z".parse().unwrap();
        assert_eq!(
            fields.line(time, Level::WARN),
            concat!(
                r#"time="2026-11-24T03:29:34Z" level=warning msg="AppArmor support has been disabled" "#,
                r#"empty= err="no \"kvm\"" type=virtual-machine"#,
                "\n"
            )
        );
    }

    #[test]
    fn the_kernels_words_begin_small_and_have_no_number() {
        let error = io::Error::from_raw_os_error(rustix::io::Errno::ROFS.raw_os_error());
        assert_eq!(errno_text(&error), "read-only file system");
    }
}
