//! Device programs of a container's control groups, which are loaded and attached in its place.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use lxd_sys::bpf;

use super::process::Process;
use crate::instance::Instance;

/// The longest program, in instructions: `BPF_MAXINSNS` of linux/bpf.h.
const INSTRUCTIONS_MAX: usize = 4096;
/// As much of the call's attributes as is looked at, in bytes.
const ATTRIBUTES: usize = 72;

// linux/bpf.h
const PROG_LOAD: u32 = 5;
const PROG_ATTACH: u32 = 8;
const PROG_DETACH: u32 = 9;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const REPLACE: u32 = 4;
/// Override, multi, replace.
const ATTACH_FLAGS: u32 = 1 | 2 | REPLACE;

/// What is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Load a program.
    Load {
        /// Its instructions.
        instructions: Vec<u8>,
        /// The name of its licence.
        license: CString,
        /// `BPF_F_*` of a load.
        flags: u32,
    },
    /// Let a program decide for a control group; both are descriptors of the caller's.
    Attach {
        group: u32,
        program: u32,
        flags: u32,
        replaced: Option<u32>,
    },
    /// Take a program away from a control group.
    Detach { group: u32, program: Option<u32> },
}

/// Reads the arguments of bpf(2); none where it is about anything else than device programs.
///
/// # Errors
/// The caller's memory can't be read.
pub(super) fn read(process: &Process, [command, attributes, size]: [u64; 3]) -> io::Result<Option<Asked>> {
    let length = usize::try_from(size).unwrap_or(usize::MAX).min(ATTRIBUTES);
    let mut bytes = process.bytes(attributes, length)?;
    // What a shorter structure does not have counts as zero.
    bytes.resize(ATTRIBUTES, 0);
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let address = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    let number = |at: usize| Some(word(at)).filter(|number| *number != 0);
    if command == u64::from(PROG_LOAD) {
        let count = word(4) as usize;
        // A program for a network device is none for a control group.
        if word(0) != TYPE_CGROUP_DEVICE || !(1..=INSTRUCTIONS_MAX).contains(&count) || word(64) != 0 {
            return Ok(None);
        }
        let license = process.text(address(16))?;
        return Ok(Some(Asked::Load {
            instructions: process.bytes(address(8), count * bpf::INSTRUCTION)?,
            license: CString::new(license).map_err(|_| io::ErrorKind::InvalidInput)?,
            flags: word(44),
        }));
    }
    if word(8) != ATTACH_CGROUP_DEVICE {
        return Ok(None);
    }
    let flags = word(12);
    Ok(if command == u64::from(PROG_DETACH) {
        Some(Asked::Detach {
            group: word(0),
            program: number(4),
        })
    } else if command == u64::from(PROG_ATTACH) && flags & !ATTACH_FLAGS == 0 {
        Some(Asked::Attach {
            group: word(0),
            program: word(4),
            flags,
            replaced: (flags & REPLACE != 0).then(|| word(16)),
        })
    } else {
        None
    })
}

/// Makes the call of this id; what it returns to the caller.
///
/// # Errors
/// As the kernel says; the group is not the container's own; the call waits no more.
pub(super) fn perform(asked: &Asked, instance: &Instance, process: &Process, id: u64) -> io::Result<i64> {
    match asked {
        Asked::Load {
            instructions,
            license,
            flags,
        } => {
            let program = bpf::load_device_program(instructions, license, *flags)?;
            lxd_sys::seccomp::give(process.listener.as_fd(), id, program.as_fd()).map(i64::from)
        }
        Asked::Attach {
            group,
            program,
            flags,
            replaced,
        } => {
            let group = own_group(instance, process, *group)?;
            let program = process.descriptor(*program)?;
            let replaced = replaced.map(|number| process.descriptor(number)).transpose()?;
            still_waits(process, id)?;
            let replaced = replaced.as_ref().map(OwnedFd::as_fd);
            bpf::attach_device_program(group.as_fd(), program.as_fd(), *flags, replaced).map(|()| 0)
        }
        Asked::Detach { group, program } => {
            let group = own_group(instance, process, *group)?;
            let program = program.map(|number| process.descriptor(number)).transpose()?;
            still_waits(process, id)?;
            bpf::detach_device_program(group.as_fd(), program.as_ref().map(OwnedFd::as_fd)).map(|()| 0)
        }
    }
}

/// A control group that belongs to the container's users: it may have seen others.
fn own_group(instance: &Instance, process: &Process, number: u32) -> io::Result<OwnedFd> {
    let group = process.descriptor(number)?;
    let owner = rustix::fs::fstat(&group)?.st_uid;
    let mut ranges = instance.idmap.iter().flat_map(|map| &map.uids);
    let is_own = ranges.any(|range| {
        owner
            .checked_sub(range.outside)
            .is_some_and(|at| at < range.count)
    });
    match is_own {
        true => Ok(group),
        false => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

/// The descriptors were the caller's only if its call waits still.
fn still_waits(process: &Process, id: u64) -> io::Result<()> {
    match process.is_waiting(id) {
        true => Ok(()),
        false => Err(rustix::io::Errno::PERM.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::tests::plain;

    fn this_process() -> Process {
        let open = |path: &str| OwnedFd::from(std::fs::File::open(path).unwrap());
        Process::of(vec![
            open("/proc/self"),
            open("/proc/self/mem"),
            open("/dev/null"),
        ])
        .unwrap()
    }

    fn ask(command: u32, attributes: &[u8]) -> Option<Asked> {
        let args = [
            command.into(),
            attributes.as_ptr() as u64,
            attributes.len() as u64,
        ];
        read(&this_process(), args).unwrap()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn device_programs_are_read_and_no_others() {
        let instructions = [0xb7_u8; 16];
        let license = c"GPL";
        let load = |kind: u32, count: u32| {
            let mut bytes = words(&[kind, count]);
            bytes.extend((instructions.as_ptr() as u64).to_le_bytes());
            bytes.extend((license.as_ptr() as u64).to_le_bytes());
            ask(PROG_LOAD, &bytes)
        };
        let wanted = Asked::Load {
            instructions: instructions.to_vec(),
            license: license.to_owned(),
            flags: 0,
        };
        assert_eq!(load(TYPE_CGROUP_DEVICE, 2), Some(wanted));
        assert_eq!(load(1, 2), None, "a socket filter");
        assert_eq!(load(TYPE_CGROUP_DEVICE, 0), None);
        assert_eq!(load(TYPE_CGROUP_DEVICE, 5000), None);
        let attach = ask(PROG_ATTACH, &words(&[7, 8, ATTACH_CGROUP_DEVICE, 2 | REPLACE, 9]));
        let wanted = Asked::Attach {
            group: 7,
            program: 8,
            flags: 6,
            replaced: Some(9),
        };
        assert_eq!(attach, Some(wanted));
        assert_eq!(
            ask(PROG_ATTACH, &words(&[7, 8, 0, 0])),
            None,
            "a filter of packets"
        );
        assert_eq!(ask(PROG_ATTACH, &words(&[7, 8, ATTACH_CGROUP_DEVICE, 64])), None);
        let wanted = Asked::Detach {
            group: 7,
            program: None,
        };
        assert_eq!(
            ask(PROG_DETACH, &words(&[7, 0, ATTACH_CGROUP_DEVICE])),
            Some(wanted)
        );
    }

    #[test]
    fn groups_of_the_host_are_not_touched() {
        let root = OwnedFd::from(std::fs::File::open("/").unwrap());
        let number = std::os::fd::AsRawFd::as_raw_fd(&root).cast_unsigned();
        let instance = plain("/x".as_ref(), "c");
        let asked = Asked::Detach {
            group: number,
            program: None,
        };
        let refused = perform(&asked, &instance, &this_process(), 1).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        let asked = Asked::Detach {
            group: 1_000_000,
            program: None,
        };
        assert!(perform(&asked, &instance, &this_process(), 1).is_err());
    }
}
