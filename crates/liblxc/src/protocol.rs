//! What the daemon and the helper binary say to each other, as plain values and bytes.
//!
//! * `lxd-helper start NAME LXCPATH CONFIG` prints a [`Started`] line on its standard output, or nothing if the container
//!   has ended again by then, or explains on its standard error and ends with 1.
//! * `lxd-helper dump NAME LXCPATH CONFIG FOLDER keep|stop LOG` saves what runs, and gives the folder its name only when all is in
//!   it; meanwhile [`crate::saved::unfinished`] is there, locked. CRIU's log is copied to LOG.
//! * `lxd-helper restore NAME LXCPATH CONFIG FOLDER UID GID plain|mapped LOG NIC...` is `start` with what was saved; UID and
//!   GID are those of its root. `mapped`: its files are seen through the map of the user namespace that is descriptor 3.
//! * `lxd-helper exec` and `lxd-helper console` have a connected stream socket as standard input: the daemon
//!   sends one frame (with file descriptors), the helper answers with frames of [`Reply`].
//! * `lxd-helper proxy LOG` has such a socket too; it answers and then serves one proxy device, see [`crate::proxy`].
//! * `lxd-helper net LOG NIC...` and `lxd-helper hook ...` are run by liblxc as hooks; see [`crate::nic::Nic`]
//!   and [`HookMessage`].
//! * `lxd-helper check CONFIG` ends with 0 if liblxc accepts the file.
//! * `lxd-helper features` prints the library's version, then one API extension per line that it has.
//! * `lxd-helper mount`, `unmount` and `uevent` have a container's namespaces as descriptors 3 and up, in the order of the
//!   letters of their argument: `u` for the user namespace, any other for one without an identity.
//!
//! A frame is its body's length as `u32` (little-endian), then the body. A body is a list of fields, each its
//! length as `u32`, then its bytes.

use std::fmt;

pub use crate::nic::{Nic, parse_hwaddr};

/// The largest body that either side accepts, in bytes: twice the kernel's limit for arguments and environment.
pub const FRAME_LIMIT: usize = 4 << 20;

/// The API extensions of liblxc that `features` asks for, by the names that users see in `lxc info`.
pub const EXTENSIONS: [&str; 14] = [
    "cgroup2",
    "core_scheduling",
    "devpts_fd",
    "idmapped_mounts_v2",
    "mount_injection_file",
    "network_gateway_device_route",
    "network_ipvlan",
    "network_l2proxy",
    "network_phys_macvlan_mtu",
    "network_veth_router",
    "pidfd",
    "seccomp_allow_deny_syntax",
    "seccomp_notify",
    "seccomp_proxy_send_notify_fd",
];

/// A message that is not what the other side should have sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed message of the helper: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// The processes of a container that has just reached RUNNING.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// The container's PID 1, seen from the host.
    pub init: i32,
    /// liblxc's monitor, its parent.
    pub monitor: i32,
}

impl Started {
    /// The line that `start` prints.
    pub fn to_line(self) -> String {
        format!("{} {}\n", self.init, self.monitor)
    }

    /// Reads the line that `start` printed.
    pub fn parse(line: &str) -> Result<Self, Malformed> {
        let mut words = line.split_whitespace().map(str::parse::<i32>);
        match (words.next(), words.next(), words.next()) {
            (Some(Ok(init)), Some(Ok(monitor)), None) if init > 0 && monitor > 0 => {
                Ok(Self { init, monitor })
            }
            _ => Err(Malformed("two process ids wanted")),
        }
    }
}

/// What `exec` must run. Three file descriptors (standard input, output, error) come with the frame, or none
/// where [`Exec::terminal`] asks for a terminal of the container's own. The answer is [`Reply::Running`] once there is a
/// process inside, which becomes the program when one more byte comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// The container's name as liblxc knows it.
    pub name: String,
    /// The folder above the container's folder.
    pub lxcpath: String,
    /// The configuration file that the container was started with.
    pub config: String,
    /// The file for liblxc's log.
    pub log: String,
    /// User inside.
    pub uid: u32,
    /// Group inside.
    pub gid: u32,
    /// Working directory inside.
    pub cwd: String,
    /// The whole environment.
    pub environment: Vec<(String, String)>,
    /// Program and arguments, at least the program.
    pub argv: Vec<String>,
    /// The container's folders in the control group hierarchies of version 1.
    pub legacy: Vec<String>,
    /// Its folder in the hierarchy of version 2; empty where there is none.
    pub unified: String,
    /// Make a terminal inside for the program; its master side comes back with [`Reply::Running`].
    pub terminal: Option<Terminal>,
}

/// A terminal to make inside the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminal {
    /// Columns; 0 leaves the size unset.
    pub width: u16,
    /// Rows; 0 leaves the size unset.
    pub height: u16,
    /// Who owns the terminal's device, as an id of the host.
    pub owner: u32,
}

/// Which container `console` shall attach to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Console {
    /// The container's name as liblxc knows it.
    pub name: String,
    /// The folder above the container's folder.
    pub lxcpath: String,
    /// What to do with the console.
    pub action: ConsoleAction,
}

/// The two uses of a console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsoleAction {
    /// Take it, until the descriptor that holds it is closed: [`Reply::Running`].
    Attach,
    /// Read what the ring buffer holds: [`Reply::Log`].
    Log,
    /// Read it and empty it.
    Clear,
}

/// What the helper answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The program runs as this process of the host. With this frame come its pidfd, and the terminal's master
    /// side where one was asked for. For a console: 0, the descriptor that holds it, its master side.
    Running(i32),
    /// The program has ended with this code: its own, or 128 + signal.
    Exited(i32),
    /// The contents of the console's ring buffer.
    Log(Vec<u8>),
    /// Nothing was run, for this reason.
    Failed(String),
}

/// What a hook tells the daemon, in one datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookMessage {
    /// The instance's project.
    pub project: String,
    /// The instance's name.
    pub name: String,
    /// Which hook it is, such as `post-stop`.
    pub kind: String,
    /// `LXC_TARGET` where liblxc sets it: `stop` or `reboot`.
    pub target: String,
}

impl Exec {
    /// The body of the frame that asks for this.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        let texts = [
            &self.name,
            &self.lxcpath,
            &self.config,
            &self.log,
            &self.cwd,
            &self.unified,
        ];
        for text in texts {
            out.field(text.as_bytes());
        }
        out.number(self.uid);
        out.number(self.gid);
        let terminal = self
            .terminal
            .map(|t| [u32::from(t.width), u32::from(t.height), t.owner]);
        out.number(u32::from(terminal.is_some()));
        for number in terminal.unwrap_or_default() {
            out.number(number);
        }
        out.number(u32::try_from(self.environment.len()).unwrap_or(u32::MAX));
        for (key, value) in &self.environment {
            out.field(key.as_bytes());
            out.field(value.as_bytes());
        }
        out.number(u32::try_from(self.legacy.len()).unwrap_or(u32::MAX));
        for text in self.legacy.iter().chain(&self.argv) {
            out.field(text.as_bytes());
        }
        out.0
    }

    /// Reads the body of a frame.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Reader(body);
        let [name, lxcpath, config, log, cwd, unified] = [
            fields.text()?,
            fields.text()?,
            fields.text()?,
            fields.text()?,
            fields.text()?,
            fields.text()?,
        ];
        let (uid, gid) = (fields.number()?, fields.number()?);
        let (asked, width, height, owner) = (
            fields.number()?,
            fields.number()?,
            fields.number()?,
            fields.number()?,
        );
        let size = |n: u32| u16::try_from(n).map_err(|_| Malformed("terminal size"));
        let terminal = match asked {
            0 => None,
            _ => Some(Terminal {
                width: size(width)?,
                height: size(height)?,
                owner,
            }),
        };
        let mut environment = Vec::new();
        for _ in 0..fields.number()? {
            environment.push((fields.text()?, fields.text()?));
        }
        let mut legacy = Vec::new();
        for _ in 0..fields.number()? {
            legacy.push(fields.text()?);
        }
        let mut argv = Vec::new();
        while !fields.0.is_empty() {
            argv.push(fields.text()?);
        }
        if argv.is_empty() {
            return Err(Malformed("no program"));
        }
        Ok(Self {
            legacy,
            unified,
            name,
            lxcpath,
            config,
            log,
            uid,
            gid,
            cwd,
            environment,
            argv,
            terminal,
        })
    }
}

impl Console {
    /// The body of the frame that asks for this.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.field(self.name.as_bytes());
        out.field(self.lxcpath.as_bytes());
        out.number(match self.action {
            ConsoleAction::Attach => 0,
            ConsoleAction::Log => 1,
            ConsoleAction::Clear => 2,
        });
        out.0
    }

    /// Reads the body of a frame.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Reader(body);
        let (name, lxcpath) = (fields.text()?, fields.text()?);
        let action = match fields.number()? {
            0 => ConsoleAction::Attach,
            1 => ConsoleAction::Log,
            2 => ConsoleAction::Clear,
            _ => return Err(Malformed("unknown console action")),
        };
        Ok(Self {
            name,
            lxcpath,
            action,
        })
    }
}

impl Reply {
    /// The body of the frame that says this.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Self::Running(pid) => {
                out.field(b"running");
                out.field(&pid.to_le_bytes());
            }
            Self::Exited(code) => {
                out.field(b"exited");
                out.field(&code.to_le_bytes());
            }
            Self::Log(text) => {
                out.field(b"log");
                out.field(text);
            }
            Self::Failed(reason) => {
                out.field(b"failed");
                out.field(reason.as_bytes());
            }
        }
        out.0
    }

    /// Reads the body of a frame.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Reader(body);
        let (kind, value) = (fields.field()?, fields.field()?);
        let number = || {
            value
                .try_into()
                .map(i32::from_le_bytes)
                .map_err(|_| Malformed("number wanted"))
        };
        match kind {
            b"running" => Ok(Self::Running(number()?)),
            b"exited" => Ok(Self::Exited(number()?)),
            b"log" => Ok(Self::Log(value.to_vec())),
            b"failed" => Ok(Self::Failed(String::from_utf8_lossy(value).into_owned())),
            _ => Err(Malformed("unknown kind of reply")),
        }
    }
}

impl HookMessage {
    /// The datagram that says this.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        for text in [&self.project, &self.name, &self.kind, &self.target] {
            out.field(text.as_bytes());
        }
        out.0
    }

    /// Reads a datagram.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Reader(body);
        let message = Self {
            project: fields.text()?,
            name: fields.text()?,
            kind: fields.text()?,
            target: fields.text()?,
        };
        if fields.0.is_empty() {
            Ok(message)
        } else {
            Err(Malformed("trailing bytes"))
        }
    }
}

/// Puts the length before a body.
pub fn frame(body: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(body.len())
        .unwrap_or(u32::MAX)
        .to_le_bytes()
        .to_vec();
    bytes.extend_from_slice(body);
    bytes
}

/// The length of the body that follows these four bytes, if it is one that is accepted.
pub fn frame_length(header: [u8; 4]) -> Result<usize, Malformed> {
    let length = u32::from_le_bytes(header) as usize;
    if length <= FRAME_LIMIT {
        Ok(length)
    } else {
        Err(Malformed("frame too long"))
    }
}

#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn field(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&frame(bytes));
    }

    pub(crate) fn number(&mut self, number: u32) {
        self.field(&number.to_le_bytes());
    }
}

pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn field(&mut self) -> Result<&'a [u8], Malformed> {
        let (header, rest) = self
            .0
            .split_first_chunk::<4>()
            .ok_or(Malformed("field without length"))?;
        let length = frame_length(*header)?;
        if length > rest.len() {
            return Err(Malformed("field cut short"));
        }
        let (field, rest) = rest.split_at(length);
        self.0 = rest;
        Ok(field)
    }

    pub(crate) fn text(&mut self) -> Result<String, Malformed> {
        let bytes = self.field()?.to_vec();
        String::from_utf8(bytes).map_err(|_| Malformed("text is not UTF-8"))
    }

    pub(crate) fn number(&mut self) -> Result<u32, Malformed> {
        let bytes = self.field()?.try_into().map_err(|_| Malformed("number wanted"))?;
        Ok(u32::from_le_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(terminal: Option<Terminal>) -> Exec {
        Exec {
            name: "p_c1".into(),
            lxcpath: "/a b/containers".into(),
            config: "/x/lxc.conf".into(),
            log: "/x/lxc.log".into(),
            uid: 1000,
            gid: 7,
            cwd: "/root".into(),
            legacy: vec!["/sys/fs/cgroup/cpu,cpuacct/lxc.payload.p_c1".into()],
            unified: "/sys/fs/cgroup/unified/lxc.payload.p_c1".into(),
            environment: vec![("A".into(), "b=c\nd".into()), ("E".into(), String::new())],
            argv: vec!["sh".into(), "-c".into(), String::new()],
            terminal,
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for terminal in [
            None,
            Some(Terminal {
                width: 80,
                height: 25,
                owner: 1_000_000,
            }),
        ] {
            assert_eq!(Exec::decode(&exec(terminal).encode()), Ok(exec(terminal)));
        }
        for reply in [
            Reply::Running(7),
            Reply::Exited(-1),
            Reply::Log(vec![0, 255]),
            Reply::Failed("no".into()),
        ] {
            assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
        }
        for action in [ConsoleAction::Attach, ConsoleAction::Log, ConsoleAction::Clear] {
            let console = Console {
                name: "c".into(),
                lxcpath: "/".into(),
                action,
            };
            assert_eq!(Console::decode(&console.encode()), Ok(console));
        }
        assert_eq!(
            Started::parse("12 34\n"),
            Ok(Started {
                init: 12,
                monitor: 34
            })
        );
    }

    #[test]
    fn every_prefix_and_garbage_is_refused() {
        let body = exec(None).encode();
        let fixed = body.len() - 3 * 4 - 4; // the three arguments
        for end in 0..=fixed {
            assert!(Exec::decode(&body[..end]).is_err(), "prefix of {end} bytes");
        }
        assert!(Reply::decode(&[1, 0, 0, 0, b'x', 0, 0, 0, 0]).is_err());
        assert!(frame_length([255; 4]).is_err());
        assert!(HookMessage::decode(&[0; 17]).is_err());
        for bad in ["", "1", "1 2 3", "0 1", "a b"] {
            assert!(Started::parse(bad).is_err(), "{bad}");
        }
    }
}
