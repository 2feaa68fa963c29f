//! Sockets that listen and sockets that connect, none of which ever waits.
#![allow(
    unsafe_code,
    reason = "connecting without waiting, and the owner of a socket's file"
)]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
use std::path::Path;

use liblxc::proxy::{Endpoint, Ids, Proxy};

use super::place::{as_creator, check};
use super::poll::owned;

/// Connections that may wait to be taken.
const BACKLOG: libc::c_int = 4096;

/// A socket that others come to.
pub(super) enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A stream socket with a path or a name.
    Unix(UnixListener),
    /// A UDP port.
    Udp(UdpSocket),
}

/// The folder and the name of a socket's file, to remove it wherever this process stands by then.
pub(super) struct SocketFile {
    folder: File,
    name: CString,
}

impl Listener {
    /// Listens. A file with the socket's path is replaced.
    pub(super) fn open(at: &Endpoint, proxy: &Proxy) -> io::Result<(Self, Option<SocketFile>)> {
        let listener = match at {
            Endpoint::Tcp(address) => Self::Tcp(on_any(*address, TcpListener::bind)?),
            Endpoint::Udp(address) => Self::Udp(on_any(*address, UdpSocket::bind)?),
            Endpoint::Abstract(name) => {
                let address = UnixAddress::from_abstract_name(name.as_bytes())?;
                Self::Unix(UnixListener::bind_addr(&address)?)
            }
            Endpoint::Unix(path) => {
                let bind = || {
                    let file = SocketFile::of(Path::new(path))?;
                    file.remove()?;
                    Ok::<_, io::Error>((UnixListener::bind(path)?, file))
                };
                let (listener, file) = as_creator(proxy.creator, proxy.mode, bind)?;
                if proxy.owner != proxy.creator {
                    give(Path::new(path), proxy.owner)?;
                }
                let listener = Self::Unix(listener);
                listener.prepare()?;
                return Ok((listener, Some(file)));
            }
        };
        listener.prepare()?;
        Ok((listener, None))
    }

    fn prepare(&self) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.set_nonblocking(true)?,
            Self::Unix(listener) => listener.set_nonblocking(true)?,
            Self::Udp(socket) => return socket.set_nonblocking(true),
        }
        // SAFETY: plain system call on an open socket; listening again changes the length of the queue.
        check(unsafe { libc::listen(self.fd().as_raw_fd(), BACKLOG) })
    }

    pub(super) fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
            Self::Udp(socket) => socket.as_fd(),
        }
    }
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let name = CString::new(std::os::unix::ffi::OsStrExt::as_bytes(name))?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::options()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
            .open(folder.unwrap_or(Path::new("/")))?;
        Ok(Self { folder, name })
    }

    /// Removes the file, if it is there.
    pub(super) fn remove(&self) -> io::Result<()> {
        // SAFETY: the name is NUL-terminated, the folder open.
        match check(unsafe { libc::unlinkat(self.folder.as_raw_fd(), self.name.as_ptr(), 0) }) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Listens on an address. As with the reference, all addresses of IPv4 means all of IPv6 too, where there is any.
fn on_any<T>(address: SocketAddr, bind: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    if address.ip() != IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
        return bind(address);
    }
    match bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port()))) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => bind(address),
        bound => bound,
    }
}

/// Why nobody can listen there, in the reference's words.
pub(super) fn listen_error(at: &Endpoint, error: &io::Error) -> String {
    let text = at.to_string();
    let (protocol, place) = text.split_once(':').unwrap_or(("", &text));
    let reason = error.to_string();
    let reason = reason
        .split(" (os error")
        .next()
        .unwrap_or_default()
        .to_lowercase();
    format!("Failed to listen on {place}: listen {protocol} {place}: bind: {reason}")
}

/// Gives a socket's file to somebody. By a descriptor, so that what is given is the socket and no file put in its place.
fn give(path: &Path, to: Ids) -> io::Result<()> {
    let flags = libc::O_PATH | libc::O_NOFOLLOW;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !std::os::unix::fs::FileTypeExt::is_socket(&file.metadata()?.file_type()) {
        return Err(io::Error::other("the socket was replaced by another file"));
    }
    let empty = c"".as_ptr();
    // SAFETY: plain system call on an open descriptor with an empty, NUL-terminated path.
    check(unsafe { libc::fchownat(file.as_raw_fd(), empty, to.uid, to.gid, libc::AT_EMPTY_PATH) })
}

/// What became of an attempt to connect.
pub(super) enum Attempt {
    /// Connected, or about to be: it becomes writable then.
    Begun(OwnedFd),
    /// Too many wait at the other side: to be tried again.
    Later,
}

/// Begins to connect.
pub(super) fn connect(to: &Endpoint) -> io::Result<Attempt> {
    match to {
        Endpoint::Tcp(address) => {
            let family = if address.is_ipv4() {
                libc::AF_INET
            } else {
                libc::AF_INET6
            };
            let fd = stream_socket(family)?;
            let (storage, length) = inet(address);
            begin(fd, (&raw const storage).cast(), length)
        }
        Endpoint::Udp(address) => {
            let any = match address {
                SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            };
            let socket = UdpSocket::bind(any)?;
            socket.set_nonblocking(true)?;
            socket.connect(address)?;
            Ok(Attempt::Begun(socket.into()))
        }
        Endpoint::Unix(path) => connect_unix(path.as_bytes(), 0),
        Endpoint::Abstract(name) => connect_unix(name.as_bytes(), 1),
    }
}

fn connect_unix(name: &[u8], offset: usize) -> io::Result<Attempt> {
    // SAFETY: an all-zero address is valid.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let room = address
        .sun_path
        .get_mut(offset..offset + name.len() + (1 - offset));
    let room = room.ok_or_else(|| io::Error::other("the path is too long for a socket"))?;
    for (to, from) in room.iter_mut().zip(name) {
        *to = *from as libc::c_char;
    }
    let length = size_of::<libc::sa_family_t>() + offset + name.len() + (1 - offset);
    let fd = stream_socket(libc::AF_UNIX)?;
    begin(fd, (&raw const address).cast(), length as libc::socklen_t)
}

fn stream_socket(family: libc::c_int) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: plain system call that returns a new descriptor or -1.
    unsafe { owned(libc::socket(family, kind, 0)) }
}

fn begin(fd: OwnedFd, address: *const libc::sockaddr, length: libc::socklen_t) -> io::Result<Attempt> {
    // SAFETY: both callers pass an address of their own that is valid for `length`.
    match check(unsafe { libc::connect(fd.as_raw_fd(), address, length) }) {
        Ok(()) => Ok(Attempt::Begun(fd)),
        Err(error) => match error.raw_os_error() {
            Some(libc::EINPROGRESS) => Ok(Attempt::Begun(fd)),
            Some(libc::EAGAIN) => Ok(Attempt::Later),
            _ => Err(error),
        },
    }
}

/// The kernel's form of an address.
fn inet(address: &SocketAddr) -> (libc::sockaddr_in6, libc::socklen_t) {
    // SAFETY: all-zero addresses are valid; the larger of the two has room for the smaller one.
    unsafe {
        let mut storage: libc::sockaddr_in6 = std::mem::zeroed();
        match address {
            SocketAddr::V4(v4) => {
                let inner = (&raw mut storage).cast::<libc::sockaddr_in>();
                (*inner).sin_family = libc::AF_INET as libc::sa_family_t;
                (*inner).sin_port = v4.port().to_be();
                (*inner).sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
                (storage, size_of::<libc::sockaddr_in>() as libc::socklen_t)
            }
            SocketAddr::V6(v6) => {
                storage.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                storage.sin6_port = v6.port().to_be();
                storage.sin6_addr.s6_addr = v6.ip().octets();
                storage.sin6_scope_id = v6.scope_id();
                (storage, size_of::<libc::sockaddr_in6>() as libc::socklen_t)
            }
        }
    }
}

/// Tells the other side of a stream that nothing more comes.
pub(super) fn end_writing(fd: &impl AsRawFd) {
    // SAFETY: plain system call; that the other side is gone already is no harm.
    unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_WR) };
}

/// What became of a connection that was begun.
pub(super) fn outcome(fd: &impl AsRawFd) -> io::Result<()> {
    let (mut code, mut length) = (0 as libc::c_int, size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: both pointers are to locals of the sizes given.
    check(unsafe {
        let value = (&raw mut code).cast();
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            value,
            &raw mut length,
        )
    })?;
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(code))
    }
}

/// Small packets go out at once, and a peer that is gone is noticed.
pub(super) fn tune(fd: &impl AsRawFd) {
    let on: libc::c_int = 1;
    for (level, option) in [
        (libc::IPPROTO_TCP, libc::TCP_NODELAY),
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    ] {
        // SAFETY: the option is one int. Sockets that have no such option need none.
        unsafe {
            let value = (&raw const on).cast();
            libc::setsockopt(
                fd.as_raw_fd(),
                level,
                option,
                value,
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
    }
}

/// The line that begins a connection in the PROXY protocol, version 1.
pub(super) fn header(connection: Option<&TcpStream>) -> String {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let ends = connection.and_then(|tcp| Some((plain(tcp.peer_addr().ok()?), plain(tcp.local_addr().ok()?))));
    match ends {
        Some((from, to)) => {
            let family = if from.is_ipv4() { 4 } else { 6 };
            format!(
                "PROXY TCP{family} {} {} {} {}\r\n",
                from.ip(),
                to.ip(),
                from.port(),
                to.port()
            )
        }
        None => "PROXY UNKNOWN\r\n".to_owned(),
    }
}
