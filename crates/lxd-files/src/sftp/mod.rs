//! SFTP, version 3, on a stream socket.

mod handles;
mod listing;
mod packet;
mod paths;

use std::io::{self, BufReader, Write};
use std::os::unix::net::UnixStream;

use handles::Handles;
use packet::{Fields, Packet, Status};

use crate::files::Failed;

const INIT: u8 = 1;
const VERSION: u8 = 2;
const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const WRITE: u8 = 6;
const LSTAT: u8 = 7;
const FSTAT: u8 = 8;
const SETSTAT: u8 = 9;
const FSETSTAT: u8 = 10;
const OPENDIR: u8 = 11;
const READDIR: u8 = 12;
const REMOVE: u8 = 13;
const MKDIR: u8 = 14;
const RMDIR: u8 = 15;
const REALPATH: u8 = 16;
const STAT: u8 = 17;
const RENAME: u8 = 18;
const READLINK: u8 = 19;
const SYMLINK: u8 = 20;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRS: u8 = 105;
const EXTENDED: u8 = 200;
const EXTENDED_REPLY: u8 = 201;

/// The version that is spoken.
const SPOKEN: u32 = 3;

/// What is offered beyond that, with its version.
const EXTENSIONS: [(&[u8], &[u8]); 4] = [
    (b"posix-rename@openssh.com", b"1"),
    (b"statvfs@openssh.com", b"2"),
    (b"hardlink@openssh.com", b"1"),
    (b"fsync@openssh.com", b"1"),
];

/// Why a request gets a status and nothing else.
enum Refusal {
    Status(Status),
    Failed(Failed),
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<Failed> for Refusal {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

type Answer = Result<Packet, Refusal>;

/// Serves a client until it closes the socket.
pub(crate) fn serve(stream: UnixStream) -> io::Result<()> {
    let mut output = stream.try_clone()?;
    let mut input = BufReader::with_capacity(256 << 10, stream);
    let mut handles = Handles::default();
    let mut body = Vec::new();
    while let Some(kind) = packet::receive(&mut input, &mut body)? {
        let answer = if kind == INIT {
            version()
        } else {
            let mut fields = Fields(&body);
            let Ok(id) = fields.number() else {
                return Err(io::Error::other("a request without a number"));
            };
            respond(&mut handles, kind, id, &mut fields).unwrap_or_else(|refusal| status_of(id, &refusal))
        };
        output.write_all(&answer.finish())?;
    }
    Ok(())
}

fn version() -> Packet {
    EXTENSIONS
        .iter()
        .fold(Packet::new(VERSION).number(SPOKEN), |packet, (name, version)| {
            packet.byte_string(name).byte_string(version)
        })
}

fn respond(handles: &mut Handles, kind: u8, id: u32, fields: &mut Fields<'_>) -> Answer {
    match kind {
        OPEN => handles.open(id, fields),
        CLOSE => handles.close(id, fields),
        READ => handles.read(id, fields),
        WRITE => handles.write(id, fields),
        FSTAT => handles.stat(id, fields),
        FSETSTAT => handles.set(id, fields),
        OPENDIR => handles.open_directory(id, fields),
        READDIR => handles.read_directory(id, fields),
        LSTAT => paths::stat(id, fields, false),
        STAT => paths::stat(id, fields, true),
        SETSTAT => paths::set(id, fields),
        REMOVE => paths::remove(id, fields),
        MKDIR => paths::make_directory(id, fields),
        RMDIR => paths::remove_directory(id, fields),
        REALPATH => paths::real_path(id, fields),
        RENAME => paths::rename(id, fields, false),
        READLINK => paths::read_link(id, fields),
        SYMLINK => paths::make_link(id, fields),
        EXTENDED => match fields.byte_string()? {
            b"posix-rename@openssh.com" => paths::rename(id, fields, true),
            b"statvfs@openssh.com" => paths::statvfs(id, fields),
            b"hardlink@openssh.com" => paths::hard_link(id, fields),
            b"fsync@openssh.com" => handles.sync(id, fields),
            _ => Err(Status::Unsupported.into()),
        },
        _ => Err(Status::Unsupported.into()),
    }
}

/// The answer to a request that has no other.
fn status(id: u32, status: Status) -> Packet {
    let text: &[u8] = match status {
        Status::Ok => b"Success",
        Status::End => b"End of file",
        Status::NotFound => b"No such file",
        Status::Denied => b"Permission denied",
        Status::Failure => b"Failure",
        Status::Bad => b"Bad message",
        Status::Unsupported => b"Operation unsupported",
    };
    Packet::answer(STATUS, id)
        .number(status as u32)
        .byte_string(text)
        .byte_string(b"")
}

fn status_of(id: u32, refusal: &Refusal) -> Packet {
    match refusal {
        Refusal::Status(number) => status(id, *number),
        Refusal::Failed(failed) => {
            let number = Status::of(failed.errno());
            if number != Status::Failure {
                return status(id, number);
            }
            Packet::answer(STATUS, id)
                .number(number as u32)
                .byte_string(io::Error::from(failed.errno()).to_string().as_bytes())
                .byte_string(b"")
        }
    }
}

fn ok(id: u32) -> Answer {
    Ok(status(id, Status::Ok))
}
