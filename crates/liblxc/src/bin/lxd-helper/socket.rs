//! Frames with file descriptors on the stream socket that is this program's standard input.
#![allow(unsafe_code, reason = "passing file descriptors")]

use std::io::{self, Read, Write};
use std::mem::{size_of, size_of_val};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use liblxc::protocol::{Reply, frame, frame_length};

/// No frame carries more descriptors.
const MAX_FDS: usize = 4;

/// Room for one control message with [`MAX_FDS`] descriptors, aligned as the kernel wants it.
type Control = [u64; 8];

/// The daemon's end.
pub(crate) struct Socket(UnixStream);

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Socket {
    /// Moves the socket away from standard input, where the program to run gets its own, and puts nothing there.
    pub(crate) fn take_stdin() -> io::Result<Self> {
        // SAFETY: plain system calls; the new descriptor is owned by the stream alone.
        let stream = unsafe {
            let fd = libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            UnixStream::from_raw_fd(fd)
        };
        let null = std::fs::File::open("/dev/null")?;
        // SAFETY: plain system call on two open descriptors.
        if unsafe { libc::dup2(null.as_raw_fd(), 0) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(stream))
    }

    /// Receives one frame's body and the descriptors that came with its first byte.
    pub(crate) fn receive(&self) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        let mut header = [0u8; 4];
        let (count, fds) = self.receive_first(&mut header)?;
        (&self.0).read_exact(&mut header[count..])?;
        let length =
            frame_length(header).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
        let mut body = vec![0u8; length];
        (&self.0).read_exact(&mut body)?;
        Ok((body, fds))
    }

    /// Sends one frame, its descriptors with the first byte.
    pub(crate) fn send(&self, reply: &Reply, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = frame(&reply.encode());
        let mut vector = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        let mut control: Control = [0; 8];
        let numbers: Vec<RawFd> = fds.iter().take(MAX_FDS).map(AsRawFd::as_raw_fd).collect();
        // SAFETY: an all-zero msghdr is valid; its pointers are to locals that outlive the call, and the control
        // message fits `control`, because there are at most MAX_FDS numbers.
        let sent = unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = &raw mut vector;
            message.msg_iovlen = 1;
            if !numbers.is_empty() {
                let size = size_of_val(numbers.as_slice()) as libc::c_uint;
                message.msg_control = control.as_mut_ptr().cast();
                message.msg_controllen = libc::CMSG_SPACE(size) as _;
                let header = libc::CMSG_FIRSTHDR(&raw const message);
                (*header).cmsg_level = libc::SOL_SOCKET;
                (*header).cmsg_type = libc::SCM_RIGHTS;
                (*header).cmsg_len = libc::CMSG_LEN(size) as _;
                let data = libc::CMSG_DATA(header).cast::<RawFd>();
                std::ptr::copy_nonoverlapping(numbers.as_ptr(), data, numbers.len());
            }
            libc::sendmsg(self.0.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
        };
        match usize::try_from(sent) {
            Ok(sent) => (&self.0).write_all(&bytes[sent..]),
            Err(_) => Err(io::Error::last_os_error()),
        }
    }

    fn receive_first(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let mut vector = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        let mut control: Control = [0; 8];
        let mut fds = Vec::new();
        // SAFETY: an all-zero msghdr is valid and points to locals; the kernel fills in whole control messages,
        // whose descriptors are new and owned by nobody else.
        let count = unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = &raw mut vector;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = size_of::<Control>() as _;
            let count = libc::recvmsg(self.0.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC);
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            if count > 0 && !header.is_null() && (*header).cmsg_type == libc::SCM_RIGHTS {
                let size = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(header).cast::<RawFd>();
                for index in 0..size / size_of::<RawFd>() {
                    fds.push(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                }
            }
            count
        };
        match usize::try_from(count) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => Ok((count, fds)),
            Err(_) => Err(io::Error::last_os_error()),
        }
    }
}
