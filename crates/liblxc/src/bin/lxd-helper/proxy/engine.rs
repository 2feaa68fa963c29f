//! The loop of a proxy: takes connections, carries them, and ends with its container.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use liblxc::proxy::{Endpoint, Proxy};

use super::conversation::{Conversation, Link};
use super::place::{Sides, become_user};
use super::poll::{self, Poll, READ};
use super::sockets::{self, Attempt, Listener, SocketFile};

/// What is read at once, in bytes.
const BUFFER: usize = 128 << 10;

/// How often conversations are looked at that may have fallen silent.
const SWEEP: Duration = Duration::from_secs(5);

/// How soon a connection is tried again that found no place in a queue, or a listener that found no descriptor.
const RETRY: Duration = Duration::from_millis(10);

/// How long such a connection is tried.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a token's two lowest bits tell: an end of a conversation (0 and 1), a listener, or the end of everything.
const LISTENER: u64 = 2;
const END: u64 = 3;

/// Everything that listens and everything that is carried.
pub(super) struct Engine {
    poll: Poll,
    _ends: [OwnedFd; 2],
    listeners: Vec<Door>,
    files: Vec<SocketFile>,
    conversations: Vec<Option<Conversation>>,
    free: Vec<usize>,
    /// Who sends datagrams to which listener.
    peers: HashMap<(usize, SocketAddr), usize>,
    /// Conversations that are not connected yet for want of a place in the other side's queue.
    waiting: Vec<(usize, usize, Instant)>,
    /// Listeners that are not listened to, for want of descriptors.
    resting: Vec<usize>,
    buffer: Vec<u8>,
    header: bool,
    log: Option<File>,
}

/// A listener and where its connections go.
struct Door {
    kind: Kind,
    target: Endpoint,
}

enum Kind {
    Streams(Listener),
    Datagrams(Rc<UdpSocket>),
}

impl Engine {
    /// Listens everywhere, and goes to where it will connect.
    pub(super) fn new(proxy: &Proxy, namespaces: Vec<OwnedFd>) -> Result<Self, String> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |e: io::Error| format!("Failed to {what}: {e}")
        };
        let poll = Poll::new().map_err(failed("wait for events"))?;
        let ends = [
            poll::process(proxy.init).map_err(failed("watch the container"))?,
            poll::signals().map_err(failed("watch signals"))?,
        ];
        for end in &ends {
            poll.change(end.as_raw_fd(), END, 0, READ)
                .map_err(failed("wait for events"))?;
        }
        let mut engine = Self {
            poll,
            _ends: ends,
            listeners: Vec::new(),
            files: Vec::new(),
            conversations: Vec::new(),
            free: Vec::new(),
            peers: HashMap::new(),
            waiting: Vec::new(),
            resting: Vec::new(),
            buffer: vec![0; BUFFER],
            header: proxy.header,
            log: None,
        };
        let sides = Sides::new(namespaces).map_err(failed("find the namespaces"))?;
        sides
            .enter(
                proxy.listen_inside,
                proxy.listen_inside && has_path(&proxy.listen),
            )
            .map_err(failed("enter the namespaces"))?;
        let listened = engine.listen(proxy);
        let entered = sides
            .enter(
                !proxy.listen_inside,
                proxy.listen_inside || has_path(&proxy.connect),
            )
            .and_then(|()| become_user(proxy.user));
        if let Err(reason) = listened.and(entered.map_err(failed("enter the namespaces"))) {
            engine.remove_files();
            return Err(reason);
        }
        Ok(engine)
    }

    /// Where to write what goes wrong.
    pub(super) fn log_to(&mut self, log: File) {
        self.log = Some(log);
    }

    fn listen(&mut self, proxy: &Proxy) -> Result<(), String> {
        for (index, at) in proxy.listen.iter().enumerate() {
            let failed = |e: io::Error| sockets::listen_error(at, &e);
            let (listener, file) = Listener::open(at, proxy).map_err(failed)?;
            self.files.extend(file);
            let fd = listener.fd().as_raw_fd();
            self.poll
                .change(fd, token(index, LISTENER), 0, READ)
                .map_err(failed)?;
            let target = proxy.connect.get(index).or(proxy.connect.first());
            let Some(target) = target.cloned() else { continue };
            let kind = match listener {
                Listener::Udp(socket) => Kind::Datagrams(Rc::new(socket)),
                stream => Kind::Streams(stream),
            };
            self.listeners.push(Door { kind, target });
        }
        Ok(())
    }

    /// Carries until the container ends or a signal comes.
    pub(super) fn run(&mut self) -> io::Result<()> {
        let mut swept = Instant::now();
        loop {
            let mut gone = Vec::new();
            for (token, _) in self.poll.wait(self.timeout())? {
                let index = (token >> 2) as usize;
                match token & 3 {
                    END => {
                        self.remove_files();
                        return Ok(());
                    }
                    LISTENER => self.take(index),
                    side => gone.extend(self.carry(index, side as usize)),
                }
            }
            self.retry(&mut gone);
            if swept.elapsed() > SWEEP {
                swept = Instant::now();
                let all = self.conversations.iter().enumerate();
                gone.extend(all.filter_map(|(index, one)| one.as_ref()?.is_silent(swept).then_some(index)));
            }
            // Only now: an event of this batch may be for one of them.
            for index in gone {
                if self.conversations[index].take().is_some() {
                    self.free.push(index);
                    self.peers.retain(|_, of| *of != index);
                    self.waiting.retain(|(of, ..)| *of != index);
                }
            }
        }
    }

    fn timeout(&self) -> i32 {
        let pause = if !self.waiting.is_empty() || !self.resting.is_empty() {
            RETRY
        } else if !self.peers.is_empty() || self.has_datagrams() {
            SWEEP
        } else {
            return -1;
        };
        i32::try_from(pause.as_millis()).unwrap_or(i32::MAX)
    }

    fn has_datagrams(&self) -> bool {
        let some = self.conversations.len() > self.free.len();
        some && self
            .listeners
            .iter()
            .any(|door| matches!(door.target, Endpoint::Udp(_)))
    }

    /// Takes whoever has come to a listener.
    fn take(&mut self, index: usize) {
        loop {
            let came = match &self.listeners[index].kind {
                Kind::Datagrams(socket) => {
                    let socket = socket.clone();
                    return self.take_datagrams(index, &socket);
                }
                Kind::Streams(Listener::Tcp(listener)) => listener.accept().map(|(stream, _)| {
                    sockets::tune(&stream);
                    let header = self.header.then(|| sockets::header(Some(&stream)));
                    (stream.set_nonblocking(true), OwnedFd::from(stream), header)
                }),
                Kind::Streams(Listener::Unix(listener)) => listener.accept().map(|(stream, _)| {
                    let header = self.header.then(|| sockets::header(None));
                    (stream.set_nonblocking(true), OwnedFd::from(stream), header)
                }),
                Kind::Streams(Listener::Udp(_)) => return,
            };
            match came {
                Ok((Ok(()), fd, header)) => {
                    self.begin(index, Link::Stream(fd.into()), &header.unwrap_or_default());
                }
                Ok((Err(_), ..)) => {}
                Err(error)
                    if matches!(
                        error.raw_os_error(),
                        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)
                    ) =>
                {
                    return self.rest(index, &error);
                }
                // Whoever came has gone again.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => return,
            }
        }
    }

    fn take_datagrams(&mut self, index: usize, socket: &Rc<UdpSocket>) {
        let mut buffer = std::mem::take(&mut self.buffer);
        // One that was refused earlier makes an error of the next call only.
        for _ in 0..256 {
            let (count, peer) = match socket.recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(_) => break,
            };
            let known = self.peers.get(&(index, peer)).copied();
            let of = known.or_else(|| {
                let of = self.begin(index, Link::Peer(socket.clone(), peer), "")?;
                self.peers.insert((index, peer), of);
                Some(of)
            });
            if let Some(of) = of
                && let Some(conversation) = &mut self.conversations[of]
            {
                conversation.hear(&buffer[..count]);
                self.arm(of);
            }
        }
        self.buffer = buffer;
    }

    /// Begins a conversation with somebody who came to a listener.
    fn begin(&mut self, door: usize, from: Link, header: &str) -> Option<usize> {
        let target = &self.listeners[door].target;
        let is_stream = !matches!(target, Endpoint::Udp(_));
        let header = if is_stream { header } else { "" };
        let attempt = sockets::connect(target);
        let (to, later) = match attempt {
            Ok(Attempt::Begun(fd)) => (Some((fd, is_stream)), false),
            Ok(Attempt::Later) => (None, true),
            Err(error) => {
                let text = format!("Warning: Failed to connect to target {target}: {error}");
                self.say(&text);
                return None;
            }
        };
        let conversation = Conversation::new(from, to, header);
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.conversations.push(None);
                self.conversations.len() - 1
            }
        };
        self.conversations[index] = Some(conversation);
        if later {
            self.waiting.push((index, door, Instant::now()));
        }
        self.arm(index);
        Some(index)
    }

    /// Goes on with a conversation; gives it back when it is over.
    fn carry(&mut self, index: usize, side: usize) -> Option<usize> {
        let conversation = self.conversations.get_mut(index)?.as_mut()?;
        match conversation.go_on(side, &mut self.buffer) {
            Ok(()) if conversation.is_over() => return Some(index),
            Ok(()) => {}
            Err(error) => {
                self.say(&format!("Warning: Failed to connect to target: {error}"));
                return Some(index);
            }
        }
        self.arm(index);
        None
    }

    /// Tells the kernel what a conversation waits for.
    fn arm(&mut self, index: usize) {
        let Some(conversation) = &mut self.conversations[index] else {
            return;
        };
        for (fd, side, before, now) in conversation.interests() {
            if let Err(error) = self.poll.change(fd, token(index, side as u64), before, now) {
                self.say(&format!("Error: Failed to wait for a connection: {error}"));
            }
        }
    }

    /// Tries again what could not be done for want of room.
    fn retry(&mut self, gone: &mut Vec<usize>) {
        for (index, door, since) in std::mem::take(&mut self.waiting) {
            let target = &self.listeners[door].target;
            match sockets::connect(target) {
                Ok(Attempt::Begun(fd)) => {
                    if let Some(conversation) = &mut self.conversations[index] {
                        conversation.connect(fd, true);
                        self.arm(index);
                    }
                }
                Ok(Attempt::Later) if since.elapsed() < PATIENCE => self.waiting.push((index, door, since)),
                _ => gone.push(index),
            }
        }
        for index in std::mem::take(&mut self.resting) {
            if let Kind::Streams(listener) = &self.listeners[index].kind {
                // Whatever is wrong shows when it is listened to again.
                let _ = self
                    .poll
                    .change(listener.fd().as_raw_fd(), token(index, LISTENER), 0, READ);
            }
        }
    }

    fn rest(&mut self, index: usize, error: &io::Error) {
        self.say(&format!("Warning: Failed to take a connection: {error}"));
        if let Kind::Streams(listener) = &self.listeners[index].kind
            && self.poll.change(listener.fd().as_raw_fd(), 0, READ, 0).is_ok()
        {
            self.resting.push(index);
        }
    }

    fn say(&mut self, text: &str) {
        if let Some(log) = &mut self.log {
            // There is nobody else to tell.
            let _ = writeln!(log, "{text}");
        }
    }

    fn remove_files(&self) {
        for file in &self.files {
            // The folder may be gone with its container.
            let _ = file.remove();
        }
    }
}

fn token(index: usize, kind: u64) -> u64 {
    (index as u64) << 2 | kind
}

fn has_path(endpoints: &[Endpoint]) -> bool {
    endpoints
        .iter()
        .any(|endpoint| matches!(endpoint, Endpoint::Unix(_)))
}
