//! One connection that is carried: its two ends, and what is on its way between them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::poll::{READ, WRITE};
use super::sockets;

/// How many times an end is read before others have their turn.
const TURNS: usize = 8;

/// What may wait for an end that is not connected yet, in bytes. Only datagrams can't be left in the kernel meanwhile.
const WAITING_LIMIT: usize = 1 << 20;

/// After how long a silence a sender of datagrams is forgotten.
const SILENCE: Duration = Duration::from_secs(300);

/// The same once the stream at the other end has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The largest datagram of UDP over IPv4.
const LARGEST_DATAGRAM: usize = 65_507;

/// What an end is made of.
pub(super) enum Link {
    /// A stream socket.
    Stream(File),
    /// A datagram socket with one peer.
    Datagram(File),
    /// One of the peers of a datagram socket that listens.
    Peer(Rc<UdpSocket>, SocketAddr),
    /// Nothing yet.
    None,
}

/// One end.
struct End {
    link: Link,
    connecting: bool,
    /// What could not be written yet.
    pending: Vec<u8>,
    /// Nothing more comes from it.
    ended: bool,
    /// It knows that nothing more comes from the other end.
    told: bool,
    /// Nothing can be written to it any more.
    dead: bool,
    /// What is waited for now.
    interest: u32,
}

/// Two ends: 0 is the one that came, 1 the one that is connected to.
pub(super) struct Conversation {
    ends: [End; 2],
    active: Instant,
}

impl End {
    fn new(link: Link, connecting: bool) -> Self {
        Self {
            link,
            connecting,
            pending: Vec::new(),
            ended: false,
            told: false,
            dead: false,
            interest: 0,
        }
    }

    fn fd(&self) -> Option<RawFd> {
        match &self.link {
            Link::Stream(file) | Link::Datagram(file) => Some(file.as_raw_fd()),
            Link::Peer(..) | Link::None => None,
        }
    }

    fn is_stream(&self) -> bool {
        matches!(self.link, Link::Stream(_) | Link::None)
    }

    /// Writes, or keeps what can't be written now.
    fn write(&mut self, bytes: &[u8]) {
        if self.dead {
            return;
        }
        let written = match &mut self.link {
            _ if self.connecting || !self.pending.is_empty() => {
                if self.pending.len() < WAITING_LIMIT {
                    self.pending.extend_from_slice(bytes);
                }
                return;
            }
            Link::None => return,
            Link::Stream(file) => file.write(bytes),
            // A datagram that finds no room is lost, as datagrams are.
            Link::Datagram(file) => return drop(file.write(bytes)),
            Link::Peer(socket, peer) => return drop(socket.send_to(bytes, *peer)),
        };
        match written {
            Ok(count) => self.pending.extend_from_slice(&bytes[count..]),
            Err(error) if is_later(&error) => self.pending.extend_from_slice(bytes),
            Err(_) => self.dead = true,
        }
    }

    /// Writes what was kept.
    fn flush(&mut self) {
        if self.connecting || self.pending.is_empty() {
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        self.write(&pending);
    }
}

impl Conversation {
    /// A conversation with somebody who has come; `header` is what the other end hears first.
    pub(super) fn new(from: Link, to: Option<(OwnedFd, bool)>, header: &str) -> Self {
        let mut conversation = Self {
            ends: [End::new(from, false), End::new(Link::None, true)],
            active: Instant::now(),
        };
        conversation.ends[1].pending.extend_from_slice(header.as_bytes());
        if let Some((fd, is_stream)) = to {
            conversation.connect(fd, is_stream);
        }
        conversation
    }

    /// Gives it the end that it is connected to, or about to be.
    pub(super) fn connect(&mut self, fd: OwnedFd, is_stream: bool) {
        let end = &mut self.ends[1];
        if is_stream {
            end.link = Link::Stream(fd.into());
        } else {
            end.link = Link::Datagram(fd.into());
            end.connecting = false;
        }
    }

    /// Takes a datagram from the peer at end 0.
    pub(super) fn hear(&mut self, datagram: &[u8]) {
        self.active = Instant::now();
        self.ends[1].write(datagram);
    }

    /// Something happened at an end: carries on, in both directions.
    ///
    /// # Errors
    /// The connection could not be made, or a datagram socket has learned that nobody listens.
    pub(super) fn go_on(&mut self, side: usize, buffer: &mut [u8]) -> io::Result<()> {
        self.active = Instant::now();
        if self.ends[side].connecting {
            if let Link::Stream(file) = &self.ends[side].link {
                sockets::outcome(file)?;
                sockets::tune(file);
            }
            self.ends[side].connecting = false;
        }
        self.ends[side].flush();
        self.read(side, buffer)?;
        self.tell();
        Ok(())
    }

    fn read(&mut self, side: usize, buffer: &mut [u8]) -> io::Result<()> {
        let [first, second] = &mut self.ends;
        let (from, to) = if side == 0 {
            (first, second)
        } else {
            (second, first)
        };
        let room = if to.is_stream() {
            buffer.len()
        } else {
            LARGEST_DATAGRAM
        };
        for _ in 0..TURNS {
            if from.ended || !to.pending.is_empty() || to.connecting {
                return Ok(());
            }
            let (read, is_stream) = match &mut from.link {
                Link::Stream(file) => (file.read(&mut buffer[..room]), true),
                Link::Datagram(file) => (file.read(buffer), false),
                Link::Peer(..) | Link::None => return Ok(()),
            };
            match read {
                Ok(0) if is_stream => from.ended = true,
                Ok(count) => to.write(&buffer[..count]),
                Err(error) if is_later(&error) => return Ok(()),
                Err(error) if !is_stream => return Err(error),
                // The peer of a stream that is gone can't be written to either.
                Err(_) => (from.ended, from.dead) = (true, true),
            }
        }
        Ok(())
    }

    /// Passes on that an end has nothing more to say, once everything before that is written.
    fn tell(&mut self) {
        for side in [0, 1] {
            let ended = self.ends[1 - side].ended;
            let end = &mut self.ends[side];
            if ended && !end.told && !end.connecting && end.pending.is_empty() {
                end.told = true;
                if let Link::Stream(file) = &end.link {
                    sockets::end_writing(file);
                }
            }
        }
    }

    /// Whether everything was said.
    pub(super) fn is_over(&self) -> bool {
        let [a, b] = &self.ends;
        let done = |end: &End| end.dead || end.pending.is_empty();
        let gone = |end: &End, other: &End| end.dead && end.ended && done(other);
        (a.is_stream() && b.is_stream() && a.ended && b.ended && done(a) && done(b))
            || gone(a, b)
            || gone(b, a)
            || a.dead && b.dead
            || b.dead && done(a)
            || a.dead && done(b)
    }

    /// Whether a conversation with datagrams, which have no end of their own, has fallen silent.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        let has_datagrams = self.ends.iter().any(|end| !end.is_stream());
        let limit = if self.ends.iter().any(|end| end.ended) {
            LAST_WORDS
        } else {
            SILENCE
        };
        has_datagrams && now.duration_since(self.active) > limit
    }

    /// What has to be waited for, for each end that has a descriptor: descriptor, side, before and now.
    pub(super) fn interests(&mut self) -> impl Iterator<Item = (RawFd, usize, u32, u32)> + use<> {
        let wanted = [self.wanted(0), self.wanted(1)];
        let mut changes = Vec::new();
        for (side, end) in self.ends.iter_mut().enumerate() {
            if let Some(fd) = end.fd() {
                let before = std::mem::replace(&mut end.interest, wanted[side]);
                changes.push((fd, side, before, wanted[side]));
            }
        }
        changes.into_iter()
    }

    fn wanted(&self, side: usize) -> u32 {
        let (end, other) = (&self.ends[side], &self.ends[1 - side]);
        let reads = !end.connecting && !end.ended && !other.connecting && other.pending.is_empty();
        let writes = !end.dead && (end.connecting || !end.pending.is_empty());
        (u32::from(reads) * READ) | (u32::from(writes) * WRITE)
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
