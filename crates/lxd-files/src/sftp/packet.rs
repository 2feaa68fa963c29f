//! Packets of SFTP, version 3: <https://www.ietf.org/archive/id/draft-ietf-secsh-filexfer-02.txt>.

use std::fs::Metadata;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

use rustix::io::Errno;

/// The largest packet that is accepted, in bytes. Clients send at most 32 KiB of a file at a time, some 256 KiB.
const LIMIT: usize = 1 << 20;

const HAS_SIZE: u32 = 1;
const HAS_IDS: u32 = 2;
const HAS_MODE: u32 = 4;
const HAS_TIMES: u32 = 8;
const HAS_EXTENSIONS: u32 = 0x8000_0000;

/// The status of a request, by its number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok = 0,
    End = 1,
    NotFound = 2,
    Denied = 3,
    Failure = 4,
    Bad = 5,
    Unsupported = 8,
}

impl Status {
    /// The status that tells best what the kernel answered.
    pub(super) fn of(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::NotFound,
            Errno::ACCESS | Errno::PERM => Self::Denied,
            Errno::NOSYS | Errno::OPNOTSUPP => Self::Unsupported,
            _ => Self::Failure,
        }
    }
}

/// Reads one packet into the buffer: its type and body. None at the end of all.
pub(super) fn receive(from: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<Option<u8>> {
    let mut header = [0; 5];
    let mut count = 0;
    while count < header.len() {
        match from.read(&mut header[count..]) {
            Ok(0) if count == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let [a, b, c, d, kind] = header;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length == 0 || length > LIMIT {
        return Err(io::Error::other("a packet of a size that none may have"));
    }
    buffer.resize(length - 1, 0);
    from.read_exact(buffer)?;
    Ok(Some(kind))
}

/// The fields of a packet that came.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn byte_string(&mut self) -> Result<&'a [u8], Status> {
        let length = self.number()? as usize;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Status::Bad)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn number(&mut self) -> Result<u32, Status> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Status::Bad)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    pub(super) fn long(&mut self) -> Result<u64, Status> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Status::Bad)?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*bytes))
    }

    pub(super) fn attributes(&mut self) -> Result<Attributes, Status> {
        let flags = self.number()?;
        let has = |flag| flags & flag != 0;
        let mut found = Attributes::default();
        if has(HAS_SIZE) {
            found.size = Some(self.long()?);
        }
        if has(HAS_IDS) {
            found.ids = Some((self.number()?, self.number()?));
        }
        if has(HAS_MODE) {
            found.mode = Some(self.number()?);
        }
        if has(HAS_TIMES) {
            found.times = Some((self.number()?, self.number()?));
        }
        if has(HAS_EXTENSIONS) {
            for _ in 0..self.number()? {
                self.byte_string()?;
                self.byte_string()?;
            }
        }
        Ok(found)
    }
}

/// What a client wants to be set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) size: Option<u64>,
    pub(super) ids: Option<(u32, u32)>,
    pub(super) mode: Option<u32>,
    pub(super) times: Option<(u32, u32)>,
}

/// A packet to send.
pub(super) struct Packet(Vec<u8>);

impl Packet {
    /// A packet of a type, with the number of the request that it answers.
    pub(super) fn answer(kind: u8, id: u32) -> Self {
        Self::new(kind).number(id)
    }

    pub(super) fn new(kind: u8) -> Self {
        Self(vec![0, 0, 0, 0, kind])
    }

    pub(super) fn number(mut self, number: u32) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(super) fn long(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(super) fn byte_string(self, bytes: &[u8]) -> Self {
        let mut this = self.number(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        this.0.extend_from_slice(bytes);
        this
    }

    /// Attributes of something that is there.
    pub(super) fn attributes(self, found: &Metadata) -> Self {
        let time = |seconds: i64| u32::try_from(seconds).unwrap_or(0);
        self.number(HAS_SIZE | HAS_IDS | HAS_MODE | HAS_TIMES)
            .long(found.size())
            .number(found.uid())
            .number(found.gid())
            .number(found.mode())
            .number(time(found.atime()))
            .number(time(found.mtime()))
    }

    /// Adds the fields of another packet.
    pub(super) fn then(mut self, other: &Self) -> Self {
        self.0.extend_from_slice(&other.0[5..]);
        self
    }

    /// How long it is so far, in bytes.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The bytes to send.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len() - 4).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_as_written() {
        let sent = Packet::answer(101, 7).number(4).byte_string(b"no").finish();
        let mut buffer = Vec::new();
        let mut from = sent.as_slice();
        assert_eq!(receive(&mut from, &mut buffer).unwrap(), Some(101));
        let mut fields = Fields(&buffer);
        assert_eq!((fields.number(), fields.number()), (Ok(7), Ok(4)));
        assert_eq!(fields.byte_string(), Ok(b"no".as_slice()));
        assert_eq!(fields.number(), Err(Status::Bad));
        assert_eq!(receive(&mut from, &mut buffer).unwrap(), None);
    }

    #[test]
    fn broken_packets_are_refused() {
        let mut buffer = Vec::new();
        for wrong in [
            &b"\0\0\0\0\x01"[..],
            b"\xff\0\0\0\x01",
            b"\0\0\0\x05\x01ab",
            b"\0\0",
        ] {
            assert!(receive(&mut &*wrong, &mut buffer).is_err(), "{wrong:?}");
        }
        let extended = Packet::new(0).number(HAS_EXTENSIONS).number(u32::MAX).finish();
        assert_eq!(Fields(&extended[5..]).attributes(), Err(Status::Bad));
    }
}
