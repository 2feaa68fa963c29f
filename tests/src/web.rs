//! A web server on loopback, with TLS: pages, redirects, ranges, and connections that break on purpose.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What is at a path.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// What it holds.
    pub body: Vec<u8>,
    /// Headers besides the length.
    pub headers: Vec<(String, String)>,
    /// After how many bytes the connections for it break, one after another; the last one stays.
    pub breaks: Vec<usize>,
    /// Whether parts may be asked for.
    pub has_ranges: bool,
    /// How long each 20th of it takes.
    pub pause: Duration,
}

#[derive(Default)]
struct State {
    pages: HashMap<String, Page>,
    log: Vec<String>,
}

/// A running server. It ends with the process.
pub struct Web {
    state: Arc<Mutex<State>>,
    port: u16,
    certificate: PathBuf,
}

impl Web {
    /// Starts a server; its certificate, which it signed itself, is written into a folder.
    #[track_caller]
    pub fn start(folder: &Path) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]);
        let made = params.unwrap().self_signed(&key).unwrap();
        let certificate = folder.join("web.crt");
        std::fs::write(&certificate, made.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth();
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = config
            .with_single_cert(vec![made.der().clone()], private)
            .unwrap();
        let (config, state) = (Arc::new(config), Arc::new(Mutex::new(State::default())));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, state) = (Arc::clone(&config), Arc::clone(&shared));
                std::thread::spawn(move || drop(serve(stream, config, &state)));
            }
        });
        Self {
            state,
            port,
            certificate,
        }
    }

    /// The server's URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The file with the server's certificate.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// Puts a page at a path.
    pub fn put(&self, path: &str, page: Page) {
        self.state.lock().pages.insert(path.to_owned(), page);
    }

    /// Puts plain content at a path.
    pub fn put_bytes(&self, path: &str, body: impl Into<Vec<u8>>) {
        let page = Page {
            body: body.into(),
            ..Page::default()
        };
        self.put(path, page);
    }

    /// Changes a page.
    #[track_caller]
    pub fn change(&self, path: &str, change: impl FnOnce(&mut Page)) {
        change(self.state.lock().pages.get_mut(path).unwrap());
    }

    /// Takes a page away.
    pub fn remove(&self, path: &str) -> Option<Page> {
        self.state.lock().pages.remove(path)
    }

    /// What was asked for since the last call: method, path, and from which byte on.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().log)
    }
}

/// Answers the requests of one connection.
fn serve(stream: TcpStream, config: Arc<ServerConfig>, state: &Mutex<State>) -> std::io::Result<()> {
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    loop {
        let mut first = String::new();
        if stream.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut from = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            let line = line.to_ascii_lowercase();
            if let Some(range) = line.strip_prefix("range: bytes=") {
                from = range.trim().trim_end_matches('-').parse().unwrap();
            }
        }
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (page, stop) = look(state, (method, path), from);
        let done = answer(stream.get_mut(), method, (page, from), stop)?;
        if !done {
            return Ok(());
        }
    }
}

fn look(state: &Mutex<State>, (method, path): (&str, &str), from: usize) -> (Option<Page>, usize) {
    let mut state = state.lock();
    state.log.push(match from {
        0 => format!("{method} {path}"),
        from => format!("{method} {path} {from}-"),
    });
    let Some(page) = state.pages.get_mut(path) else {
        return (None, usize::MAX);
    };
    let stop = match page.breaks.len() {
        0 => usize::MAX,
        1 => page.breaks[0],
        _ => page.breaks.remove(0),
    };
    (
        Some(page.clone()),
        if method == "GET" { stop } else { usize::MAX },
    )
}

/// Sends a page; says whether the connection is still good.
fn answer(
    stream: &mut impl Write,
    method: &str,
    (page, from): (Option<Page>, usize),
    stop: usize,
) -> std::io::Result<bool> {
    let Some(page) = page else {
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
        stream.flush()?;
        return Ok(true);
    };
    let from = if page.has_ranges { from } else { 0 };
    let total = page.body.len();
    let mut head = match from {
        0 => "HTTP/1.1 200 OK\r\n".to_owned(),
        from => format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{}/{total}\r\n",
            total - 1
        ),
    };
    for (name, value) in &page.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let body = &page.body[from..];
    head += &format!("Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    if method == "HEAD" {
        stream.flush()?;
        return Ok(true);
    }
    let sent = &body[..body.len().min(stop)];
    for piece in sent.chunks((sent.len() / 20).max(1)) {
        stream.write_all(piece)?;
        stream.flush()?;
        std::thread::sleep(page.pause);
    }
    stream.flush()?;
    Ok(sent.len() == body.len())
}
