//! One netlink socket: requests out, answers in.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::{Error, namespace};

/// More than the kernel puts into one datagram (32 KiB, when the reader's buffer allows).
const BUFFER: usize = 64 * 1024;

/// A blocking rtnetlink socket of one network namespace.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// A socket of the current network namespace.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub fn open() -> Result<Self, Error> {
        let open = || {
            rustix::net::socket_with(
                AddressFamily::NETLINK,
                SocketType::RAW,
                SocketFlags::CLOEXEC,
                None,
            )
        };
        let fd = open().map_err(|e| Error::Open(e.into()))?;
        Ok(Self {
            fd,
            sequence: 0,
            buffer: vec![0; BUFFER],
        })
    }

    /// A socket of another network namespace (a descriptor of `/proc/PID/ns/net` or `/run/netns/NAME`).
    ///
    /// # Errors
    /// [`Error::Open`] and [`Error::Namespace`].
    pub fn open_in(netns: BorrowedFd<'_>) -> Result<Self, Error> {
        namespace::in_namespace(netns, Self::open).map_err(Error::Namespace)?
    }

    /// Sends a request that is answered by success or failure alone.
    pub(super) fn act(
        &mut self,
        what: impl FnOnce() -> String,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), Error> {
        self.exchange(what, message, flags | NLM_F_ACK).map(drop)
    }

    /// Sends a request that is answered by one object.
    pub(super) fn get(
        &mut self,
        what: impl FnOnce() -> String,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        self.exchange(what, message, 0)
    }

    /// Sends a request that is answered by all objects of a sort.
    pub(super) fn dump(
        &mut self,
        what: impl FnOnce() -> String,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        self.exchange(what, message, NLM_F_DUMP)
    }

    fn exchange(
        &mut self,
        what: impl FnOnce() -> String,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        match self.talk(message, flags) {
            Ok(answers) => Ok(answers),
            Err(Broken::Refused(source)) => Err(Error::Request { what: what(), source }),
            Err(Broken::Malformed(source)) => Err(Error::Malformed { what: what(), source }),
        }
    }

    fn talk(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<Vec<RouteNetlinkMessage>, Broken> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        rustix::net::sendto(
            &self.fd,
            &bytes,
            SendFlags::empty(),
            &SocketAddrNetlink::new(0, 0),
        )
        .map_err(io::Error::from)?;
        let mut answers = Vec::new();
        loop {
            let received = match rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::TRUNC) {
                Ok((_, length)) if length > self.buffer.len() => {
                    return Err(io::Error::from_raw_os_error(libc::EMSGSIZE).into());
                }
                Ok((_, length)) => length,
                Err(rustix::io::Errno::INTR) => continue,
                Err(e) => return Err(io::Error::from(e).into()),
            };
            if self.read(received, flags, &mut answers)? {
                return Ok(answers);
            }
        }
    }

    /// Takes one datagram apart; true when it was the last of the answer.
    fn read(
        &self,
        received: usize,
        flags: u16,
        answers: &mut Vec<RouteNetlinkMessage>,
    ) -> Result<bool, Broken> {
        let mut rest = &self.buffer[..received];
        while !rest.is_empty() {
            let message =
                NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(Broken::Malformed)?;
            // Messages are padded to four bytes; a length of zero would loop for ever.
            let length = (message.header.length as usize).max(16).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
            if message.header.sequence_number != self.sequence {
                continue;
            }
            match message.payload {
                NetlinkPayload::Error(e) if e.code.is_none() => return Ok(true),
                NetlinkPayload::Error(e) => return Err(e.to_io().into()),
                NetlinkPayload::Done(done) if done.code < 0 => {
                    return Err(io::Error::from_raw_os_error(-done.code).into());
                }
                NetlinkPayload::Done(_) => return Ok(true),
                NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                _ => {}
            }
            if flags & (NLM_F_ACK | NLM_F_DUMP) == 0 && !answers.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What went wrong, before it has a name.
enum Broken {
    Refused(io::Error),
    Malformed(netlink_packet_core::DecodeError),
}

impl From<io::Error> for Broken {
    fn from(e: io::Error) -> Self {
        Self::Refused(e)
    }
}
