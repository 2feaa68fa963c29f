//! System calls of containers that the helper carries out in their place: what the daemon asks for.
//!
//! `lxd-helper intercept` gets one frame with this on its standard input, and with it the descriptor of the caller's
//! folder in `/proc`. It answers with [`crate::protocol::Reply::Exited`]: the `errno`, 0 for success.

use crate::protocol::{Malformed, Reader, Writer};

/// A call, and as whom to make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intercepted {
    /// Whose rights count.
    pub caller: Caller,
    /// What to do.
    pub call: Call,
}

/// The rights of a process, as ids of the host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caller {
    /// Its user for file systems.
    pub uid: u32,
    /// Its group for file systems.
    pub gid: u32,
    /// Its other groups.
    pub groups: Vec<u32>,
    /// Its mask for new files.
    pub umask: u32,
}

/// Where a relative path begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// In the caller's working directory.
    Cwd,
    /// In this descriptor of the caller's.
    Descriptor(u32),
}

/// One call. Paths are those of the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Makes a device node, or puts one in its place where the file system takes none.
    Node {
        /// Where a relative path begins.
        at: At,
        /// The new node.
        path: Vec<u8>,
        /// Its type and its rights, before the mask.
        mode: u32,
        /// The device's number.
        major: u32,
        /// The device's number.
        minor: u32,
    },
    /// Sets an extended attribute.
    Attribute {
        /// The file.
        path: Vec<u8>,
        /// The attribute.
        name: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
        /// `XATTR_CREATE`, `XATTR_REPLACE`.
        flags: u32,
    },
    /// Mounts a file system.
    Mount(Mount),
    /// Sets how a process is scheduled.
    Scheduler {
        /// The process: as the caller numbers it, or on the host if `on_host`.
        pid: u32,
        /// Whether `pid` is a number of the host's.
        on_host: bool,
        /// `SCHED_FIFO` and so on.
        policy: u32,
        /// The priority.
        priority: u32,
    },
    /// Runs a program of the container's.
    Run {
        /// Program and arguments.
        command: Vec<Vec<u8>>,
        /// The user inside.
        uid: u32,
        /// The group inside.
        gid: u32,
    },
}

/// A file system to mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The device, or what else the file system takes.
    pub source: Vec<u8>,
    /// The folder.
    pub target: Vec<u8>,
    /// The file system's type.
    pub kind: Vec<u8>,
    /// `MS_*`.
    pub flags: u32,
    /// Options for the file system, with commas.
    pub options: Vec<u8>,
    /// Whether the file system's ids are those inside.
    pub shift: bool,
}

impl Intercepted {
    /// The body of the frame that asks for this.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        let Caller {
            uid,
            gid,
            groups,
            umask,
        } = &self.caller;
        out.number(*uid);
        out.number(*gid);
        out.number(*umask);
        out.number(u32::try_from(groups.len()).unwrap_or(0));
        groups.iter().for_each(|group| out.number(*group));
        self.call.encode(&mut out);
        out.0
    }

    /// Reads the body of a frame.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Reader(body);
        let (uid, gid, umask) = (fields.number()?, fields.number()?, fields.number()?);
        let count = fields.number()?;
        let groups = (0..count)
            .map(|_| fields.number())
            .collect::<Result<Vec<_>, _>>()?;
        let call = Call::decode(&mut fields)?;
        if !fields.0.is_empty() {
            return Err(Malformed("trailing bytes"));
        }
        let caller = Caller {
            uid,
            gid,
            groups,
            umask,
        };
        Ok(Self { caller, call })
    }
}

impl Call {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Node {
                at,
                path,
                mode,
                major,
                minor,
            } => {
                out.field(b"node");
                out.number(match at {
                    At::Cwd => u32::MAX,
                    At::Descriptor(number) => *number,
                });
                out.field(path);
                [mode, major, minor]
                    .into_iter()
                    .for_each(|number| out.number(*number));
            }
            Self::Attribute {
                path,
                name,
                value,
                flags,
            } => {
                out.field(b"attribute");
                [path, name, value].into_iter().for_each(|text| out.field(text));
                out.number(*flags);
            }
            Self::Mount(mount) => {
                out.field(b"mount");
                [&mount.source, &mount.target, &mount.kind, &mount.options]
                    .into_iter()
                    .for_each(|text| out.field(text));
                out.number(mount.flags);
                out.number(u32::from(mount.shift));
            }
            Self::Scheduler {
                pid,
                on_host,
                policy,
                priority,
            } => {
                out.field(b"scheduler");
                out.number(u32::from(*on_host));
                [pid, policy, priority]
                    .into_iter()
                    .for_each(|number| out.number(*number));
            }
            Self::Run { command, uid, gid } => {
                out.field(b"run");
                out.number(*uid);
                out.number(*gid);
                out.number(u32::try_from(command.len()).unwrap_or(0));
                command.iter().for_each(|word| out.field(word));
            }
        }
    }

    fn decode(fields: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match fields.field()? {
            b"node" => Self::Node {
                at: match fields.number()? {
                    u32::MAX => At::Cwd,
                    number => At::Descriptor(number),
                },
                path: fields.field()?.to_vec(),
                mode: fields.number()?,
                major: fields.number()?,
                minor: fields.number()?,
            },
            b"attribute" => Self::Attribute {
                path: fields.field()?.to_vec(),
                name: fields.field()?.to_vec(),
                value: fields.field()?.to_vec(),
                flags: fields.number()?,
            },
            b"mount" => Self::Mount(Mount {
                source: fields.field()?.to_vec(),
                target: fields.field()?.to_vec(),
                kind: fields.field()?.to_vec(),
                options: fields.field()?.to_vec(),
                flags: fields.number()?,
                shift: fields.number()? != 0,
            }),
            b"scheduler" => Self::Scheduler {
                on_host: fields.number()? != 0,
                pid: fields.number()?,
                policy: fields.number()?,
                priority: fields.number()?,
            },
            b"run" => {
                let (uid, gid, count) = (fields.number()?, fields.number()?, fields.number()?);
                let words = (0..count).map(|_| Ok(fields.field()?.to_vec()));
                let command = words.collect::<Result<_, _>>()?;
                Self::Run { command, uid, gid }
            }
            _ => return Err(Malformed("unknown call")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_arrives() {
        let caller = Caller {
            uid: 1_000_000,
            gid: 1_000_001,
            groups: vec![1_000_002, 1_000_003],
            umask: 0o22,
        };
        let calls = [
            Call::Node {
                at: At::Descriptor(7),
                path: b"dev/null".to_vec(),
                mode: 0o20666,
                major: 1,
                minor: 3,
            },
            Call::Attribute {
                path: b"/d".to_vec(),
                name: b"trusted.overlay.opaque".to_vec(),
                value: b"y".to_vec(),
                flags: 1,
            },
            Call::Mount(Mount {
                source: b"/dev/sda1".to_vec(),
                target: b"/mnt".to_vec(),
                kind: b"ext4".to_vec(),
                flags: 1,
                options: b"data=ordered".to_vec(),
                shift: true,
            }),
            Call::Scheduler {
                pid: 1,
                on_host: false,
                policy: 1,
                priority: 50,
            },
            Call::Run {
                command: vec![b"fuse2fs".to_vec(), b"/dev/vol".to_vec()],
                uid: 0,
                gid: 5,
            },
        ];
        for call in calls {
            let asked = Intercepted {
                caller: caller.clone(),
                call,
            };
            let body = asked.encode();
            assert_eq!(Intercepted::decode(&body), Ok(asked));
            assert!(Intercepted::decode(&body[..body.len() - 1]).is_err());
            assert!(Intercepted::decode(&[body.as_slice(), &[0, 0, 0, 0]].concat()).is_err());
        }
    }
}
