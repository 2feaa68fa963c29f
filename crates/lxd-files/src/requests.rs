//! The daemon's requests, one after the other.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::protocol::{Contents, FRAME_LIMIT, INLINE, Kind, Reply, Request, Wanted};
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags};

use crate::files::{self, Failed, attributes};
use crate::socket::Socket;

/// What goes through a pipe at once, in bytes.
const PIPE: usize = 1 << 20;

/// Serves requests until the daemon closes the socket.
pub(crate) fn serve(socket: &Socket) -> io::Result<()> {
    while let Some((body, _)) = socket.receive()? {
        let request = Request::decode(&body).map_err(io::Error::other)?;
        let reply = match answer(socket, request) {
            Ok(reply) => reply,
            Err(Trouble::Failed(failed)) => failed.reply(),
            Err(Trouble::Socket(error)) => return Err(error),
        };
        socket.send(&reply, None)?;
    }
    Ok(())
}

/// Why a request has no reply of its own.
enum Trouble {
    Failed(Failed),
    Socket(io::Error),
}

impl From<Failed> for Trouble {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

fn answer(socket: &Socket, request: Request) -> Result<Reply, Trouble> {
    match request {
        Request::Look(path) => {
            let found = std::fs::symlink_metadata(files::path(&path)).map_err(Failed::io("lstat"))?;
            Ok(Reply::Found(attributes(&found), Contents::None))
        }
        Request::Read(path) => read(socket, &files::path(&path)),
        Request::Write {
            path,
            append,
            wanted,
            data,
        } => write(socket, &files::path(&path), append, wanted, data),
        Request::MakeDirectory { path, wanted } => {
            make_directory(&files::path(&path), wanted)?;
            Ok(Reply::Done)
        }
        Request::MakeLink { path, target, wanted } => {
            make_link(&files::path(&path), &target, wanted)?;
            Ok(Reply::Done)
        }
        Request::Remove(path) => {
            remove(&files::path(&path))?;
            Ok(Reply::Done)
        }
    }
}

fn read(socket: &Socket, path: &Path) -> Result<Reply, Trouble> {
    let found = std::fs::symlink_metadata(path).map_err(Failed::io("lstat"))?;
    let shown = attributes(&found);
    let contents = match shown.kind {
        Kind::Directory => Contents::Names(names(path)?),
        Kind::Link => {
            let target = std::fs::read_link(path).map_err(Failed::io("readlink"))?;
            Contents::Link(target.into_os_string().into_vec())
        }
        // Pipes would wait for somebody, and devices act.
        Kind::Other => Contents::Data(Vec::new()),
        Kind::File => {
            let mut file = files::open(path, OFlags::RDONLY | OFlags::NOFOLLOW, 0)?;
            let mut shown = attributes(&file.metadata().map_err(Failed::io("stat"))?);
            if shown.size > INLINE as u64 {
                return stream(socket, &file, Reply::Found(shown, Contents::Pipe));
            }
            // Files of /proc say that they are empty; what they hold decides.
            let mut data = Vec::with_capacity(INLINE.min(shown.size as usize + 1));
            let limit = FRAME_LIMIT as u64 / 2;
            Read::by_ref(&mut file)
                .take(limit)
                .read_to_end(&mut data)
                .map_err(Failed::io("read"))?;
            shown.size = data.len() as u64;
            return Ok(Reply::Found(shown, Contents::Data(data)));
        }
    };
    Ok(Reply::Found(shown, contents))
}

fn names(path: &Path) -> Result<Vec<Vec<u8>>, Failed> {
    let entries = std::fs::read_dir(path).map_err(Failed::io("opendir"))?;
    let names: io::Result<Vec<Vec<u8>>> = entries
        .map(|entry| Ok(entry?.file_name().as_bytes().to_vec()))
        .collect();
    let mut names = names.map_err(Failed::io("readdir"))?;
    names.sort_unstable();
    Ok(names)
}

/// Sends what is in a file through a pipe.
fn stream(socket: &Socket, file: &File, reply: Reply) -> Result<Reply, Trouble> {
    let (reader, writer) = pipe()?;
    socket.send(&reply, Some(reader.as_fd()))?;
    drop(reader);
    match pump(file, &writer) {
        // The daemon has heard enough.
        Ok(()) | Err(Errno::PIPE) => Ok(Reply::Done),
        Err(errno) => Err(Failed::new("read", errno).into()),
    }
}

fn write(
    socket: &Socket,
    path: &Path,
    append: bool,
    wanted: Wanted,
    data: Option<Vec<u8>>,
) -> Result<Reply, Trouble> {
    let is_new = std::fs::symlink_metadata(path).is_err();
    let how = match append {
        true => OFlags::empty(),
        false => OFlags::CREATE | OFlags::TRUNC,
    };
    let mode = wanted.mode.unwrap_or(0o644) & 0o7777;
    let mut file = files::open(path, OFlags::WRONLY | how, mode)?;
    if append {
        rustix::fs::seek(&file, rustix::fs::SeekFrom::End(0)).map_err(Failed::doing("seek"))?;
    }
    if is_new {
        let wanted = Wanted {
            uid: wanted.uid.or(Some(0)),
            gid: wanted.gid.or(Some(0)),
            mode: Some(mode),
        };
        set(&file, wanted)?;
    }
    match data {
        Some(data) => file.write_all(&data).map_err(Failed::io("write"))?,
        None => {
            let (reader, writer) = pipe()?;
            socket.send(&Reply::Send, Some(writer.as_fd()))?;
            drop(writer);
            pump(&reader, &file).map_err(Failed::doing("write"))?;
        }
    }
    Ok(Reply::Done)
}

/// Owner first: changing it takes the set-user-ID bits away.
fn set(file: &File, wanted: Wanted) -> Result<(), Failed> {
    if wanted.uid.is_some() || wanted.gid.is_some() {
        let (uid, gid) = (wanted.uid.map(Uid::from_raw), wanted.gid.map(Gid::from_raw));
        rustix::fs::fchown(file, uid, gid).map_err(Failed::doing("chown"))?;
    }
    if let Some(mode) = wanted.mode {
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode & 0o7777)).map_err(Failed::doing("chmod"))?;
    }
    Ok(())
}

fn make_directory(path: &Path, wanted: Wanted) -> Result<(), Failed> {
    let mode = Mode::from_raw_mode(wanted.mode.unwrap_or(0o750) & 0o7777);
    match rustix::fs::mkdir(path, mode) {
        Err(Errno::EXIST) => return Ok(()),
        made => made.map_err(Failed::doing("mkdir"))?,
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::open(path, flags, Mode::empty()).map_err(Failed::doing("open"))?;
    let wanted = Wanted {
        uid: wanted.uid.or(Some(0)),
        gid: wanted.gid.or(Some(0)),
        mode: Some(mode.as_raw_mode()),
    };
    set(&File::from(made), wanted)
}

fn make_link(path: &Path, target: &[u8], wanted: Wanted) -> Result<(), Failed> {
    match rustix::fs::symlink(target, path) {
        Err(Errno::EXIST)
            if std::fs::read_link(path).is_ok_and(|old| old.as_os_str().as_bytes() == target) =>
        {
            return Ok(());
        }
        made => made.map_err(Failed::doing("symlink"))?,
    }
    files::set_owner(path, wanted.uid.or(Some(0)), wanted.gid.or(Some(0)))
}

fn remove(path: &Path) -> Result<(), Failed> {
    match rustix::fs::unlink(path) {
        Err(Errno::ISDIR) => rustix::fs::rmdir(path).map_err(Failed::doing("remove")),
        removed => removed.map_err(Failed::doing("remove")),
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Failed> {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(Failed::doing("pipe"))?;
    // A larger one saves switches; where it is refused, the usual size does.
    let _ = rustix::pipe::fcntl_setpipe_size(&writer, PIPE);
    Ok((reader, writer))
}

/// Moves everything from one descriptor to the other, one of which is a pipe.
fn pump(from: impl AsFd, to: impl AsFd) -> Result<(), Errno> {
    loop {
        match rustix::pipe::splice(
            &from,
            None,
            &to,
            None,
            PIPE,
            SpliceFlags::MOVE | SpliceFlags::MORE,
        ) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            // File systems that can't do this, such as /proc.
            Err(Errno::INVAL) => return copy(&from, &to),
            Err(errno) => return Err(errno),
        }
    }
}

fn copy(from: impl AsFd, to: impl AsFd) -> Result<(), Errno> {
    let mut buffer = vec![0; INLINE];
    loop {
        let count = rustix::io::retry_on_intr(|| rustix::io::read(&from, &mut buffer[..]))?;
        let mut rest = &buffer[..count];
        if rest.is_empty() {
            return Ok(());
        }
        while !rest.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::write(&to, rest))?;
            rest = &rest[written..];
        }
    }
}
