//! The master side of a terminal as an async stream.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;

/// The master side of a terminal. Reading ends when no process has the other side open any more.
///
/// Background processes may keep it open after the program's end: whoever reads should stop shortly after that.
#[derive(Debug)]
pub struct Terminal {
    reader: pipe::Receiver,
    writer: pipe::Sender,
}

impl Terminal {
    pub(crate) fn new(master: &Arc<OwnedFd>) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(master)?;
        rustix::fs::fcntl_setfl(master, flags | rustix::fs::OFlags::NONBLOCK)?;
        // A terminal is no pipe, but polls, reads and writes like one.
        let reader = pipe::Receiver::from_owned_fd_unchecked(master.try_clone()?)?;
        let writer = pipe::Sender::from_owned_fd_unchecked(master.try_clone()?)?;
        Ok(Self { reader, writer })
    }

    /// Both directions as values of their own.
    pub fn into_split(self) -> (TerminalReader, pipe::Sender) {
        (TerminalReader(self.reader), self.writer)
    }
}

/// The reading half of a [`Terminal`].
#[derive(Debug)]
pub struct TerminalReader(pipe::Receiver);

impl AsyncRead for TerminalReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ended(Pin::new(&mut self.0).poll_read(cx, buf))
    }
}

impl AsyncRead for Terminal {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ended(Pin::new(&mut self.reader).poll_read(cx, buf))
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}

/// Sets the size in columns and rows.
pub(super) fn resize(master: &OwnedFd, width: u16, height: u16) -> io::Result<()> {
    let size = rustix::termios::Winsize {
        ws_row: height,
        ws_col: width,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(rustix::termios::tcsetwinsize(master.as_fd(), size)?)
}

/// Linux answers `EIO` on the master side once the last process has closed the other: that is the end.
fn ended(polled: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
    match polled {
        Poll::Ready(Err(error)) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
            Poll::Ready(Ok(()))
        }
        other => other,
    }
}
