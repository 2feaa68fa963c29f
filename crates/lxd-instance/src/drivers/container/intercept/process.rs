//! The process whose call waits: its memory, its rights, and whether it is the container's own.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use liblxc::intercepted::Caller;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

/// The longest text that a call may name, `PATH_MAX` of linux/limits.h.
const TEXT_MAX: usize = 4096;
const PAGE: usize = 4096;

/// `CAP_*` of linux/capability.h.
pub(super) const CAP_SYS_ADMIN: u32 = 21;
pub(super) const CAP_SYS_NICE: u32 = 23;
pub(super) const CAP_MKNOD: u32 = 27;

/// A process by its folder in `/proc`, which names it also when its number was given to another.
pub(super) struct Process {
    /// Its folder in `/proc`.
    pub(super) folder: OwnedFd,
    memory: OwnedFd,
    /// Where the kernel tells whether its call still waits.
    pub(super) listener: OwnedFd,
}

/// What its status says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Status {
    /// Its rights to files.
    pub(super) caller: Caller,
    effective: u64,
}

impl Process {
    /// Of the three descriptors that come with a message.
    pub(super) fn of(fds: Vec<OwnedFd>) -> Option<Self> {
        let [folder, memory, listener] = <[OwnedFd; 3]>::try_from(fds).ok()?;
        Some(Self {
            folder,
            memory,
            listener,
        })
    }

    /// Bytes of its memory.
    pub(super) fn bytes(&self, address: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let mut done = 0;
        while done < length {
            let read = rustix::io::pread(&self.memory, &mut bytes[done..], address + done as u64)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            done += read;
        }
        Ok(bytes)
    }

    /// A text of its memory; a null pointer is the empty one.
    pub(super) fn text(&self, address: u64) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        if address == 0 {
            return Ok(text);
        }
        while text.len() < TEXT_MAX {
            let at = address + text.len() as u64;
            // What is behind the page of the text's end may not be there.
            let length = PAGE - (at % PAGE as u64) as usize;
            let part = self.bytes(at, length.min(TEXT_MAX - text.len()))?;
            if let Some(end) = part.iter().position(|byte| *byte == 0) {
                text.extend(&part[..end]);
                return Ok(text);
            }
            text.extend(part);
        }
        Err(rustix::io::Errno::NAMETOOLONG.into())
    }

    /// Its rights.
    pub(super) fn status(&self) -> io::Result<Status> {
        Status::parse(&self.status_text()?).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// A copy of one of its descriptors. As with its memory, it is the caller's only if the call waits still.
    pub(super) fn descriptor(&self, number: u32) -> io::Result<OwnedFd> {
        let bad = || io::Error::from(rustix::io::Errno::BADF);
        let text = self.status_text()?;
        // A thread has no descriptors of its own.
        let group = field(&text, "Tgid").and_then(|text| Pid::from_raw(text.trim().parse().ok()?));
        let process = rustix::process::pidfd_open(group.ok_or_else(bad)?, PidfdFlags::empty())?;
        let number = i32::try_from(number).map_err(|_| bad())?;
        let copy = rustix::process::pidfd_getfd(&process, number, PidfdGetfdFlags::empty())?;
        Ok(copy)
    }

    fn status_text(&self) -> io::Result<String> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, "status", flags, Mode::empty())?;
        let mut text = String::new();
        std::fs::File::from(file).read_to_string(&mut text)?;
        Ok(text)
    }

    /// Whether it lives in the same user namespace as another process: whether a capability of its is one over the
    /// whole container.
    pub(super) fn shares_users_with(&self, pid: i32) -> bool {
        let own = rustix::fs::statat(&self.folder, "ns/user", rustix::fs::AtFlags::empty());
        let other = rustix::fs::stat(format!("/proc/{pid}/ns/user"));
        matches!((own, other), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
    }

    /// Whether its call still waits.
    pub(super) fn is_waiting(&self, id: u64) -> bool {
        lxd_sys::seccomp::is_waiting(self.listener.as_fd(), id)
    }
}

impl Status {
    /// Whether it has a capability in its user namespace.
    pub(super) fn has(&self, capability: u32) -> bool {
        self.effective & (1 << capability) != 0
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| field(text, name);
        // Real, effective, saved, and the one for file systems.
        let last = |name| field(name)?.split_whitespace().nth(3)?.parse().ok();
        let groups = field("Groups")?
            .split_whitespace()
            .map(|group| group.parse().ok())
            .collect::<Option<Vec<u32>>>()?;
        let umask = field("Umask").map_or(Some(0o22), |text| u32::from_str_radix(text.trim(), 8).ok());
        Some(Self {
            caller: Caller {
                uid: last("Uid")?,
                gid: last("Gid")?,
                groups,
                umask: umask?,
            },
            effective: u64::from_str_radix(field("CapEff")?.trim(), 16).ok()?,
        })
    }
}

/// The value of a line `name:value`.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_those_for_files() {
        let text = "Name:\tsh\nUmask:\t0027\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \nCapEff:\t0000000008000000\n";
        let status = Status::parse(text).unwrap();
        let wanted = Caller {
            uid: 4,
            gid: 8,
            groups: vec![9, 10],
            umask: 0o27,
        };
        assert_eq!(status.caller, wanted);
        assert!(status.has(CAP_MKNOD) && !status.has(CAP_SYS_ADMIN));
        assert_eq!(Status::parse("Uid:\t1\n"), None);
    }

    #[test]
    fn memory_is_read_to_the_end_of_a_text() {
        let open = |path: &str| OwnedFd::from(std::fs::File::open(path).unwrap());
        let process = Process::of(vec![
            open("/proc/self"),
            open("/proc/self/mem"),
            open("/dev/null"),
        ])
        .unwrap();
        let text = std::ffi::CString::new("a text").unwrap();
        assert_eq!(process.text(text.as_ptr() as u64).unwrap(), b"a text");
        assert_eq!(process.text(0).unwrap(), b"");
        let long = vec![b'x'; 3 * PAGE];
        assert!(process.text(long.as_ptr() as u64).is_err());
        assert!(process.text(8).is_err());
        assert!(process.shares_users_with(std::process::id().cast_signed()));
        assert!(!process.is_waiting(1));
        assert!(process.status().is_ok());
        let null = open("/dev/null");
        let number = std::os::fd::AsRawFd::as_raw_fd(&null).cast_unsigned();
        assert!(process.descriptor(number).is_ok());
        assert!(process.descriptor(1_000_000).is_err());
        assert!(Process::of(vec![open("/dev/null")]).is_none());
    }
}
