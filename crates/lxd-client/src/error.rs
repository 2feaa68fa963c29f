//! What can go wrong between a client and a server, in the words of the reference's client.

use std::io;
use std::path::PathBuf;

use lxd_model::urls::shown;

/// The outcome of a call to a server.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call to a server failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection to the server.
    #[error("{method} \"{}\": {}", shown(.url), dial_text(.place, .source))]
    Unreachable {
        /// The request's method, as in `Get`.
        method: &'static str,
        /// The whole URL of the request.
        url: String,
        /// What was connected to, as in `unix /var/lib/lxd/unix.socket`.
        place: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The connection was made, but not secured.
    #[error("{method} \"{}\": {reason}", shown(.url))]
    Untrusted {
        /// The request's method, as in `Get`.
        method: &'static str,
        /// The whole URL of the request.
        url: String,
        /// Why, as the TLS library says it.
        reason: String,
    },
    /// The connection broke during the request.
    #[error("{method} \"{}\": {reason}", shown(.url))]
    Broken {
        /// The request's method, as in `Get`.
        method: &'static str,
        /// The whole URL of the request.
        url: String,
        /// How it broke.
        reason: String,
    },
    /// The server refused the request; the text is the server's.
    #[error("{text}")]
    Refused {
        /// The HTTP status.
        code: u16,
        /// The server's words.
        text: String,
    },
    /// The operation ended without success; the text is the server's.
    #[error("{text}")]
    Failed {
        /// The operation's status code: 400 (failure) or 401 (cancelled).
        code: u16,
        /// The server's words.
        text: String,
    },
    /// The server's answer does not fit what was asked for.
    #[error("Failed to read the answer to {}: {reason}", shown(.url))]
    Answer {
        /// The whole URL of the request.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A web server has no such file.
    #[error("Unable to fetch {}: {status}", shown(.url))]
    NoFile {
        /// The whole URL.
        url: String,
        /// The HTTP status.
        code: u16,
        /// The same with the server's words for it.
        status: String,
    },
    /// A file came only in part, however often the rest was asked for.
    #[error("{reason}")]
    Cut {
        /// The whole URL.
        url: String,
        /// How it broke.
        reason: String,
    },
    /// A list of a simplestreams server can't be had or read.
    #[error("Failed parsing {list}: {reason}")]
    Streams {
        /// Which one: the `stream` that names the others, or `products`.
        list: &'static str,
        /// Why.
        reason: String,
    },
    /// A URL that this client can't talk to.
    #[error("Invalid URL {:?}", shown(.0))]
    Url(String),
    /// A certificate or a key that can't be used.
    #[error("{0}")]
    Certificate(String),
    /// A websocket that could not be opened or broke.
    #[error("websocket {}: {reason}", shown(.url))]
    WebSocket {
        /// The whole URL.
        url: String,
        /// Why.
        reason: String,
    },
    /// A local file that is sent or received.
    #[error("{}: {}", .path.display(), plain(.source))]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// The HTTP status of a refused request, the code of a failed operation, else 0.
    pub fn code(&self) -> u16 {
        match self {
            Self::Refused { code, .. } | Self::Failed { code, .. } | Self::NoFile { code, .. } => *code,
            _ => 0,
        }
    }

    /// Whether the server says that the thing asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        self.code() == 404
    }
}

/// A kernel error in small letters and without its number, as Go prints it.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

fn dial_text(place: &str, error: &io::Error) -> String {
    if error.to_string().starts_with("failed to lookup address") {
        let host = place.trim_start_matches("tcp ");
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        return format!("lookup {host}: no such host");
    }
    // The reference tries every address of a host, and lists what became of each.
    let (before, after) = match place.strip_prefix("tcp ") {
        Some(host) => (format!("Unable to connect to: {host} (["), "])"),
        None => (String::new(), ""),
    };
    format!("{before}{}{after}", one_dial_text(place, error))
}

fn one_dial_text(place: &str, error: &io::Error) -> String {
    if error.raw_os_error().is_some() {
        format!("dial {place}: connect: {}", plain(error))
    } else {
        format!("dial {place}: {}", plain(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_host_reads_like_the_reference() {
        let source = io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(
            dial_text("tcp nosuch.invalid:8443", &source),
            "lookup nosuch.invalid: no such host"
        );
    }

    #[test]
    fn a_missing_socket_reads_like_the_reference() {
        let error = Error::Unreachable {
            method: "Get",
            url: "http://unix.socket/1.0".into(),
            place: "unix /nope/unix.socket".into(),
            source: io::Error::from_raw_os_error(2),
        };
        assert_eq!(
            error.to_string(),
            "Get \"http://unix.socket/1.0\": dial unix /nope/unix.socket: connect: no such file or directory"
        );
    }
}
