//! Frames with file descriptors on the stream socket that is this program's standard input.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use crate::protocol::{Reply, frame, frame_length};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};

/// The daemon's end.
pub(crate) struct Socket(UnixStream);

impl Socket {
    /// Takes the socket over. Nothing else here reads standard input.
    pub(crate) fn take_stdin() -> io::Result<Self> {
        let fd = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
        Ok(Self(UnixStream::from(fd)))
    }

    /// The socket, for whatever else is spoken on it.
    pub(crate) fn into_stream(self) -> UnixStream {
        self.0
    }

    /// Receives one frame's body and its descriptors; none at the end of all.
    pub(crate) fn receive(&self) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        let mut header = [0; 4];
        let mut fds = Vec::new();
        let count = self.receive_first(&mut header, &mut fds)?;
        if count == 0 {
            return Ok(None);
        }
        (&self.0).read_exact(&mut header[count..])?;
        let length = frame_length(header).map_err(io::Error::other)?;
        let mut body = vec![0; length];
        (&self.0).read_exact(&mut body)?;
        Ok(Some((body, fds)))
    }

    /// Sends one frame, its descriptor with the first byte.
    pub(crate) fn send(&self, reply: &Reply, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let bytes = frame(&reply.encode());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = fd.as_slice();
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::Error::other("too many descriptors"));
        }
        let vectors = [IoSlice::new(&bytes)];
        let sent = rustix::net::sendmsg(self.0.as_fd(), &vectors, &mut control, SendFlags::NOSIGNAL)?;
        (&self.0).write_all(&bytes[sent..])
    }

    fn receive_first(&self, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut vectors = [IoSliceMut::new(buffer)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = rustix::net::recvmsg(self.0.as_fd(), &mut vectors, &mut control, flags)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        Ok(received.bytes)
    }
}
