//! Messages as plain values and bytes.
//!
//! The daemon starts the process with a connected stream socket as standard input and sends one frame, [`Enter`], with the
//! descriptors that it names. The answer is [`Reply::Ready`]. After that the socket speaks SFTP, version 3, or carries one
//! [`Request`] after the other, each with its [`Reply`].
//!
//! A frame is its body's length as `u32` (little-endian), then the body. A body is a list of fields, each its length as
//! `u32`, then its bytes.

use std::fmt;

/// The largest body that either side accepts, in bytes.
pub const FRAME_LIMIT: usize = 4 << 20;

/// Contents of files up to this size travel in the messages themselves, in bytes; larger ones through a pipe.
pub const INLINE: usize = 64 << 10;

/// A message that is not what the other side should have sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed message about files: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// Where to go, and what to be there. With the frame come the root's descriptor, then those of the namespaces to join: the
/// mount namespace, and the user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enter {
    /// Whether a mount namespace comes along.
    pub joins_mounts: bool,
    /// Whether a user namespace comes along.
    pub joins_users: bool,
    /// Whether the socket speaks SFTP from then on.
    pub sftp: bool,
}

/// Ids and permission bits that somebody wants a file to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Owner, as an id inside.
    pub uid: Option<u32>,
    /// Group, as an id inside.
    pub gid: Option<u32>,
    /// Permission bits.
    pub mode: Option<u32>,
}

/// What the daemon asks for. Paths are seen from the root; links in them are followed, one at their end where noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// What is there; a link at the end is not followed.
    Look(Vec<u8>),
    /// What is there, and what is in it: text, names, or where a link leads.
    Read(Vec<u8>),
    /// Writes a file.
    Write {
        /// Where; a link at the end is followed.
        path: Vec<u8>,
        /// Whether what is there, which then has to be, stays, and the new is added to it.
        append: bool,
        /// What a new one is to have; 0, 0 and 0644 without a wish. An existing one keeps what it has.
        wanted: Wanted,
        /// All of it; none if it is to come through a pipe.
        data: Option<Vec<u8>>,
    },
    /// Makes a directory; whatever is there already is fine, as with the reference.
    MakeDirectory {
        /// Where.
        path: Vec<u8>,
        /// What a new one is to have; 0, 0 and 0750 without a wish.
        wanted: Wanted,
    },
    /// Makes a symbolic link; one that leads there already is fine.
    MakeLink {
        /// Where.
        path: Vec<u8>,
        /// What it says.
        target: Vec<u8>,
        /// What it is to have; 0 and 0 without a wish.
        wanted: Wanted,
    },
    /// Removes a file or an empty directory.
    Remove(Vec<u8>),
}

/// The kinds of things in file systems that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A pipe, socket or device.
    Other,
}

/// What is known of something in the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// What it is.
    pub kind: Kind,
    /// Owner, as an id inside.
    pub uid: u32,
    /// Group, as an id inside.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// When it was changed, in seconds since 1970.
    pub modified: i64,
}

/// What is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    /// Nobody asked.
    None,
    /// All of a file.
    Data(Vec<u8>),
    /// Comes through the pipe whose reading end is with this frame; [`Reply::Done`] follows its end.
    Pipe,
    /// The names in a directory.
    Names(Vec<Vec<u8>>),
    /// What a link says.
    Link(Vec<u8>),
}

/// What the process answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It is inside.
    Ready,
    /// To [`Request::Look`] and [`Request::Read`].
    Found(Attributes, Contents),
    /// The contents to be written are awaited through the pipe whose writing end is with this frame. [`Reply::Done`]
    /// follows the pipe's end.
    Send,
    /// It is done.
    Done,
    /// The kernel refused.
    Failed {
        /// What was being done.
        doing: String,
        /// The error number.
        errno: i32,
    },
}

impl Enter {
    /// The frame's body.
    pub fn encode(self) -> Vec<u8> {
        let mut out = Writer::default();
        for flag in [self.joins_mounts, self.joins_users, self.sftp] {
            out.number(u64::from(flag));
        }
        out.0
    }

    /// Reads a frame's body.
    ///
    /// # Errors
    /// Another message.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Reader(body);
        Ok(Self {
            joins_mounts: fields.flag()?,
            joins_users: fields.flag()?,
            sftp: fields.flag()?,
        })
    }
}

impl Wanted {
    fn encode(self, out: &mut Writer) {
        for number in [self.uid, self.gid, self.mode] {
            out.optional(number.map(|number| number.to_le_bytes()));
        }
    }

    fn decode(fields: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut number = || -> Result<Option<u32>, Malformed> {
            let bytes = fields.optional()?.map(<[u8; 4]>::try_from);
            let bytes = bytes.transpose().map_err(|_| Malformed("number wanted"))?;
            Ok(bytes.map(u32::from_le_bytes))
        };
        Ok(Self {
            uid: number()?,
            gid: number()?,
            mode: number()?,
        })
    }
}

impl Request {
    /// The frame's body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Self::Look(path) => out.number(0).field(path),
            Self::Read(path) => out.number(1).field(path),
            Self::Write {
                path,
                append,
                wanted,
                data,
            } => {
                out.number(2).field(path).number(u64::from(*append));
                wanted.encode(&mut out);
                out.optional(data.as_ref())
            }
            Self::MakeDirectory { path, wanted } => {
                wanted.encode(out.number(3).field(path));
                &mut out
            }
            Self::MakeLink { path, target, wanted } => {
                wanted.encode(out.number(4).field(path).field(target));
                &mut out
            }
            Self::Remove(path) => out.number(5).field(path),
        };
        out.0
    }

    /// Reads a frame's body.
    ///
    /// # Errors
    /// Another message.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Reader(body);
        let kind = fields.number()?;
        let path = fields.bytes()?.to_vec();
        Ok(match kind {
            0 => Self::Look(path),
            1 => Self::Read(path),
            2 => Self::Write {
                path,
                append: fields.flag()?,
                wanted: Wanted::decode(&mut fields)?,
                data: fields.optional()?.map(<[u8]>::to_vec),
            },
            3 => Self::MakeDirectory {
                path,
                wanted: Wanted::decode(&mut fields)?,
            },
            4 => Self::MakeLink {
                path,
                target: fields.bytes()?.to_vec(),
                wanted: Wanted::decode(&mut fields)?,
            },
            5 => Self::Remove(path),
            _ => return Err(Malformed("unknown request")),
        })
    }
}

impl Reply {
    /// The frame's body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Self::Ready => out.number(0),
            Self::Found(attributes, contents) => {
                attributes.encode(out.number(1));
                contents.encode(&mut out)
            }
            Self::Send => out.number(2),
            Self::Done => out.number(3),
            Self::Failed { doing, errno } => {
                out.number(4).field(doing.as_bytes()).field(&errno.to_le_bytes())
            }
        };
        out.0
    }

    /// Reads a frame's body.
    ///
    /// # Errors
    /// Another message.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Reader(body);
        Ok(match fields.number()? {
            0 => Self::Ready,
            1 => Self::Found(Attributes::decode(&mut fields)?, Contents::decode(&mut fields)?),
            2 => Self::Send,
            3 => Self::Done,
            4 => Self::Failed {
                doing: String::from_utf8_lossy(fields.bytes()?).into_owned(),
                errno: i32::from_le_bytes(
                    fields
                        .bytes()?
                        .try_into()
                        .map_err(|_| Malformed("number wanted"))?,
                ),
            },
            _ => return Err(Malformed("unknown reply")),
        })
    }
}

impl Attributes {
    fn encode(self, out: &mut Writer) {
        let kind = match self.kind {
            Kind::File => 0,
            Kind::Directory => 1,
            Kind::Link => 2,
            Kind::Other => 3,
        };
        for number in [
            kind,
            self.uid.into(),
            self.gid.into(),
            self.mode.into(),
            self.size,
            self.modified.cast_unsigned(),
        ] {
            out.number(number);
        }
    }

    fn decode(fields: &mut Reader<'_>) -> Result<Self, Malformed> {
        let kind = match fields.number()? {
            0 => Kind::File,
            1 => Kind::Directory,
            2 => Kind::Link,
            3 => Kind::Other,
            _ => return Err(Malformed("unknown kind of file")),
        };
        let mut small =
            || -> Result<u32, Malformed> { fields.number()?.try_into().map_err(|_| Malformed("large id")) };
        let [uid, gid, mode] = [small()?, small()?, small()?];
        Ok(Self {
            kind,
            uid,
            gid,
            mode,
            size: fields.number()?,
            modified: fields.number()?.cast_signed(),
        })
    }
}

impl Contents {
    fn encode<'a>(&self, out: &'a mut Writer) -> &'a mut Writer {
        match self {
            Self::None => out.number(0),
            Self::Data(data) => out.number(1).field(data),
            Self::Pipe => out.number(2),
            Self::Names(names) => {
                out.number(3);
                for name in names {
                    out.field(name);
                }
                out
            }
            Self::Link(target) => out.number(4).field(target),
        }
    }

    fn decode(fields: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match fields.number()? {
            0 => Self::None,
            1 => Self::Data(fields.bytes()?.to_vec()),
            2 => Self::Pipe,
            3 => {
                let mut names = Vec::new();
                while !fields.0.is_empty() {
                    names.push(fields.bytes()?.to_vec());
                }
                Self::Names(names)
            }
            4 => Self::Link(fields.bytes()?.to_vec()),
            _ => return Err(Malformed("unknown contents")),
        })
    }
}

/// The bytes that go before a body, and the body.
pub fn frame(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + body.len());
    bytes.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// The length of the body that follows these four bytes.
///
/// # Errors
/// One longer than [`FRAME_LIMIT`].
pub fn frame_length(header: [u8; 4]) -> Result<usize, Malformed> {
    let length = u32::from_le_bytes(header) as usize;
    if length > FRAME_LIMIT {
        return Err(Malformed("too long"));
    }
    Ok(length)
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn field(&mut self, bytes: &[u8]) -> &mut Self {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.field(&number.to_le_bytes())
    }

    fn optional(&mut self, bytes: Option<impl AsRef<[u8]>>) -> &mut Self {
        self.number(u64::from(bytes.is_some()));
        match bytes {
            Some(bytes) => self.field(bytes.as_ref()),
            None => self,
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let (length, rest) = self.0.split_first_chunk::<4>().ok_or(Malformed("too short"))?;
        let length = u32::from_le_bytes(*length) as usize;
        let (bytes, rest) = rest.split_at_checked(length).ok_or(Malformed("too short"))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        let bytes = self.bytes()?.try_into().map_err(|_| Malformed("number wanted"))?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        Ok(self.number()? != 0)
    }

    fn optional(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.flag()? {
            true => self.bytes().map(Some),
            false => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted = Wanted {
        uid: Some(1000),
        gid: None,
        mode: Some(0o640),
    };

    #[test]
    fn requests_arrive_as_they_were_sent() {
        let path = || b"/a\xff".to_vec();
        for request in [
            Request::Look(path()),
            Request::Read(path()),
            Request::Write {
                path: path(),
                append: true,
                wanted: WANTED,
                data: Some(b"text".to_vec()),
            },
            Request::Write {
                path: path(),
                append: false,
                wanted: Wanted::default(),
                data: None,
            },
            Request::MakeDirectory {
                path: path(),
                wanted: WANTED,
            },
            Request::MakeLink {
                path: path(),
                target: b"../x".to_vec(),
                wanted: WANTED,
            },
            Request::Remove(path()),
        ] {
            let body = request.encode();
            assert_eq!(Request::decode(&body), Ok(request));
            for end in 0..body.len() {
                // Whatever a part of it is, it is no reason to fall over.
                let _ = Request::decode(&body[..end]);
            }
        }
    }

    #[test]
    fn replies_arrive_as_they_were_sent() {
        let attributes = Attributes {
            kind: Kind::Directory,
            uid: 1,
            gid: 2,
            mode: 0o755,
            size: 1 << 40,
            modified: -1,
        };
        for reply in [
            Reply::Ready,
            Reply::Found(attributes, Contents::None),
            Reply::Found(attributes, Contents::Data(vec![0; 10])),
            Reply::Found(attributes, Contents::Pipe),
            Reply::Found(attributes, Contents::Names(vec![b"a".to_vec(), b"b".to_vec()])),
            Reply::Found(attributes, Contents::Link(b"/x".to_vec())),
            Reply::Send,
            Reply::Done,
            Reply::Failed {
                doing: "open".into(),
                errno: 2,
            },
        ] {
            assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
        }
        let enter = Enter {
            joins_mounts: true,
            joins_users: false,
            sftp: true,
        };
        assert_eq!(Enter::decode(&enter.encode()), Ok(enter));
        assert!(frame_length([0xff; 4]).is_err());
    }
}
