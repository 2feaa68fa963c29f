//! What a call that was held up wants, and whether it may have it: a decision from the instance's configuration, the
//! caller's rights and the arguments.

use std::io;

use liblxc::intercepted::{At, Call, Intercepted, Mount};
use lxd_sys::userns::IdRange;

use super::bpf;
use super::message::{Message, Verdict};
use super::process::{CAP_MKNOD, CAP_SYS_ADMIN, CAP_SYS_NICE, Process};
use crate::instance::Instance;

/// `AT_FDCWD` of fcntl.h.
const AT_FDCWD: i32 = -100;

// sys/stat.h
const S_IFMT: u32 = 0o170_000;
const S_IFCHR: u32 = 0o020_000;

/// The devices that do no harm: whiteouts of overlayfs, null, zero, full, random, urandom, tty, console, ptmx.
const NODES: [(u32, u32); 9] = [
    (0, 0),
    (1, 3),
    (1, 5),
    (1, 7),
    (1, 8),
    (1, 9),
    (5, 0),
    (5, 1),
    (5, 2),
];

/// The one attribute that may be set: it marks directories of overlayfs.
const ATTRIBUTE: (&[u8], &[u8]) = (b"trusted.overlay.opaque", b"y");

/// Flags of mount(2) that change a mount instead of making one: remount, bind, move, propagation.
const NO_NEW_MOUNT: u64 = 0x20 | 0x1000 | 0x2000 | 0x2_0000 | 0x4_0000 | 0x8_0000 | 0x10_0000;

/// The flags of mount(2) that programs which stand in for a file system know as options.
const FUSE_FLAGS: [(u64, &str); 7] = [
    (0x1, "ro"),
    (0x2, "nosuid"),
    (0x4, "nodev"),
    (0x8, "noexec"),
    (0x10, "sync"),
    (0x80, "dirsync"),
    (0x400, "noatime"),
];

/// What to do about a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing more than to answer.
    Answer(Verdict),
    /// Let the helper carry it out.
    Perform(Box<Intercepted>),
    /// Do this with a device program.
    Program(bpf::Asked),
    /// Let the helper carry it out in the container's control groups.
    PerformInside(Box<Intercepted>),
}

/// The calls that can be held up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mknod,
    Mknodat,
    Setxattr,
    Mount,
    Scheduler,
    Bpf,
}

/// The numbers of the calls, by machine: x86_64, i386, aarch64.
const NUMBERS: [(u32, &[(i32, Kind)]); 3] = [
    (
        0xc000_003e,
        &[
            (133, Kind::Mknod),
            (259, Kind::Mknodat),
            (188, Kind::Setxattr),
            (165, Kind::Mount),
            (144, Kind::Scheduler),
            (321, Kind::Bpf),
        ],
    ),
    (
        0x4000_0003,
        &[
            (14, Kind::Mknod),
            (297, Kind::Mknodat),
            (226, Kind::Setxattr),
            (21, Kind::Mount),
            (156, Kind::Scheduler),
            (357, Kind::Bpf),
        ],
    ),
    (
        0xc000_00b7,
        &[
            (33, Kind::Mknodat),
            (5, Kind::Setxattr),
            (40, Kind::Mount),
            (119, Kind::Scheduler),
            (280, Kind::Bpf),
        ],
    ),
];

/// Decides. Reads the caller's memory: who acts on this must ask again whether the call still waits.
///
/// # Errors
/// The caller's memory or status can't be read.
pub(super) fn decide(instance: &Instance, message: &Message, process: &Process) -> io::Result<Decision> {
    let go_on = Ok(Decision::Answer(Verdict::Continue));
    let Some((kind, capability)) = wanted(instance, message) else {
        return go_on;
    };
    let status = process.status()?;
    // Rights that it has only in a namespace of its own are rights over nothing else.
    if !status.has(capability) || !process.shares_users_with(message.init) {
        return go_on;
    }
    let args = message.args;
    let call = match kind {
        Kind::Mknod => node(process, At::Cwd, [args[0], args[1], args[2]])?,
        Kind::Mknodat => match at(args[0]) {
            Some(at) => node(process, at, [args[1], args[2], args[3]])?,
            None => None,
        },
        Kind::Setxattr => attribute(process, args)?,
        Kind::Scheduler => Some(scheduler(process, message)?),
        Kind::Mount => return mount(instance, process, args, status.caller),
        Kind::Bpf => {
            let asked = bpf::read(process, [low(args[0]).into(), args[1], low(args[2]).into()])?;
            return asked.map_or(go_on, |asked| Ok(Decision::Program(asked)));
        }
    };
    let Some(call) = call else { return go_on };
    let caller = status.caller;
    Ok(Decision::Perform(Box::new(Intercepted { caller, call })))
}

/// Which call it is, and the capability that it takes, if the instance's configuration wants it looked at.
fn wanted(instance: &Instance, message: &Message) -> Option<(Kind, u32)> {
    let (_, numbers) = NUMBERS
        .iter()
        .find(|(machine, _)| *machine == message.architecture)?;
    let (_, kind) = numbers.iter().find(|(number, _)| *number == message.number)?;
    let (key, capability) = match kind {
        Kind::Mknod | Kind::Mknodat => ("mknod", CAP_MKNOD),
        Kind::Setxattr => ("setxattr", CAP_SYS_ADMIN),
        Kind::Mount => ("mount", CAP_SYS_ADMIN),
        Kind::Scheduler => ("sched_setscheduler", CAP_SYS_NICE),
        // Without the second key nothing that is asked may be done.
        Kind::Bpf if instance.is_set("security.syscalls.intercept.bpf") => ("bpf.devices", CAP_SYS_ADMIN),
        Kind::Bpf => return None,
    };
    let key = format!("security.syscalls.intercept.{key}");
    instance.is_set(&key).then_some((*kind, capability))
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the kernel takes the lower half of these arguments"
)]
fn low(argument: u64) -> u32 {
    argument as u32
}

fn at(argument: u64) -> Option<At> {
    match low(argument).cast_signed() {
        AT_FDCWD => Some(At::Cwd),
        number => u32::try_from(number).ok().map(At::Descriptor),
    }
}

fn node(process: &Process, at: At, [path, mode, device]: [u64; 3]) -> io::Result<Option<Call>> {
    let (mode, device) = (low(mode), low(device));
    // As the kernel packs a device's number into 32 bits.
    let (major, minor) = (
        (device >> 8) & 0xfff,
        (device & 0xff) | ((device >> 12) & 0xf_ff00),
    );
    if mode & S_IFMT != S_IFCHR || !NODES.contains(&(major, minor)) {
        return Ok(None);
    }
    let path = process.text(path)?;
    Ok(Some(Call::Node {
        at,
        path,
        mode,
        major,
        minor,
    }))
}

fn attribute(process: &Process, args: [u64; 6]) -> io::Result<Option<Call>> {
    if args[3] != ATTRIBUTE.1.len() as u64 {
        return Ok(None);
    }
    let (name, value) = (process.text(args[1])?, process.bytes(args[2], ATTRIBUTE.1.len())?);
    if (name.as_slice(), value.as_slice()) != ATTRIBUTE {
        return Ok(None);
    }
    let path = process.text(args[0])?;
    Ok(Some(Call::Attribute {
        path,
        name,
        value,
        flags: low(args[4]),
    }))
}

fn scheduler(process: &Process, message: &Message) -> io::Result<Call> {
    let priority = process.bytes(message.args[2], 4)?;
    let priority = priority.try_into().map(u32::from_le_bytes).unwrap_or(0);
    let pid = low(message.args[0]);
    Ok(Call::Scheduler {
        on_host: pid == 0,
        pid: if pid == 0 { message.pid } else { pid },
        policy: low(message.args[1]),
        priority,
    })
}

fn mount(
    instance: &Instance,
    process: &Process,
    args: [u64; 6],
    caller: liblxc::intercepted::Caller,
) -> io::Result<Decision> {
    let go_on = Ok(Decision::Answer(Verdict::Continue));
    if args[3] & NO_NEW_MOUNT != 0 {
        return go_on;
    }
    let kind = process.text(args[2])?;
    let name = String::from_utf8_lossy(&kind).into_owned();
    let value = |key: &str| instance.config(&format!("security.syscalls.intercept.mount.{key}"));
    let fuse = value("fuse").and_then(|text| fuse_program(text, &name));
    let is_allowed = value("allowed").is_some_and(|all| all.split(',').any(|one| one.trim() == name));
    if name.is_empty() || (fuse.is_none() && !is_allowed) {
        return go_on;
    }
    let (source, target) = (process.text(args[0])?, process.text(args[1])?);
    let options = process.text(args[4])?;
    if let Some(program) = fuse {
        let mut command = vec![program.as_bytes().to_vec(), source, target];
        let flags = FUSE_FLAGS.iter().filter(|(flag, _)| args[3] & flag != 0);
        let names = flags.map(|(_, name)| name.as_bytes());
        let all: Vec<&[u8]> = Some(options.as_slice())
            .filter(|o| !o.is_empty())
            .into_iter()
            .chain(names)
            .collect();
        if !all.is_empty() {
            command.extend([b"-o".to_vec(), all.join(&b',')]);
        }
        let ranges = instance.idmap.as_ref();
        let call = Call::Run {
            command,
            uid: inside(ranges.map(|map| &map.uids), caller.uid),
            gid: inside(ranges.map(|map| &map.gids), caller.gid),
        };
        return Ok(Decision::PerformInside(Box::new(Intercepted { caller, call })));
    }
    let call = Call::Mount(Mount {
        source,
        target,
        kind,
        flags: low(args[3]),
        options,
        shift: instance.is_set("security.syscalls.intercept.mount.shift"),
    });
    Ok(Decision::Perform(Box::new(Intercepted { caller, call })))
}

/// The id inside of an id of the host.
fn inside(ranges: Option<&Vec<IdRange>>, outside: u32) -> u32 {
    let mut found = ranges.into_iter().flatten().filter_map(|range| {
        let at = outside
            .checked_sub(range.outside)
            .filter(|at| *at < range.count)?;
        Some(range.inside + at)
    });
    found.next().unwrap_or(outside)
}

/// The program that stands in for a file system: of `ext4=fuse2fs,ntfs=ntfs-3g`.
fn fuse_program<'t>(text: &'t str, kind: &str) -> Option<&'t str> {
    let pairs = text.split(',').filter_map(|pair| pair.trim().split_once('='));
    let mut found = pairs.filter(|(name, program)| name.trim() == kind && !program.trim().is_empty());
    found.next().map(|(_, program)| program.trim())
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::os::fd::OwnedFd;

    use super::super::message::tests::datagram;
    use super::*;
    use crate::instance::tests::plain;

    fn instance(config: &[(&str, &str)]) -> Instance {
        let mut instance = plain("/x".as_ref(), "c");
        instance.config = config
            .iter()
            .map(|(k, v)| (format!("security.syscalls.intercept.{k}"), (*v).to_owned()))
            .collect();
        instance
    }

    /// This process, as if it were in a container whose init it is itself.
    fn ask(instance: &Instance, number: i32, args: [u64; 6]) -> Decision {
        let open = |path: &str| OwnedFd::from(std::fs::File::open(path).unwrap());
        let fds = vec![open("/proc/self"), open("/proc/self/mem"), open("/dev/null")];
        let mut message = Message::parse(&datagram(number, args, b"")).unwrap();
        message.init = std::process::id().cast_signed();
        decide(instance, &message, &Process::of(fds).unwrap()).unwrap()
    }

    fn call(decision: Decision) -> Option<Call> {
        match decision {
            Decision::Perform(asked) => Some(asked.call),
            _ => None,
        }
    }

    #[test]
    fn harmless_devices_are_made_and_no_others() {
        let path = CString::new("/dev/x").unwrap();
        let with = instance(&[("mknod", "true")]);
        let mknod = |mode: u32, device: u64| {
            let args = [path.as_ptr() as u64, mode.into(), device, 0, 0, 0];
            call(ask(&with, 133, args))
        };
        assert!(matches!(
            mknod(S_IFCHR | 0o666, 0x103),
            Some(Call::Node {
                major: 1,
                minor: 3,
                ..
            })
        ));
        assert_eq!(mknod(S_IFCHR | 0o666, 0x101), None, "/dev/mem");
        assert_eq!(mknod(0o060_000, 0x103), None, "a block device");
        let args = [
            (-100_i64).cast_unsigned(),
            path.as_ptr() as u64,
            (S_IFCHR | 0o600).into(),
            0x109,
            0,
            0,
        ];
        assert!(matches!(
            call(ask(&with, 259, args)),
            Some(Call::Node {
                at: At::Cwd,
                minor: 9,
                ..
            })
        ));
        let go_on = Decision::Answer(Verdict::Continue);
        assert_eq!(ask(&instance(&[]), 259, args), go_on, "not asked for");
        assert_eq!(ask(&with, 1, args), go_on, "another call");
    }

    #[test]
    fn one_attribute_is_set_and_no_other() {
        let text = |text: &str| CString::new(text).unwrap();
        let (path, name, value) = (text("/d"), text("trusted.overlay.opaque"), text("y"));
        let with = instance(&[("setxattr", "true")]);
        let args = |name: &CString, length| {
            let texts = [&path, name, &value].map(|text| text.as_ptr() as u64);
            [texts[0], texts[1], texts[2], length, 0, 0]
        };
        assert!(call(ask(&with, 188, args(&name, 1))).is_some());
        assert_eq!(call(ask(&with, 188, args(&text("trusted.x"), 1))), None);
        assert_eq!(call(ask(&with, 188, args(&name, 2))), None);
    }

    #[test]
    fn file_systems_are_mounted_as_configured() {
        let text = |text: &str| CString::new(text).unwrap();
        let [source, target, ext4, xfs, options] = ["/dev/sda", "/mnt", "ext4", "xfs", "discard"].map(text);
        let with = instance(&[
            ("mount", "true"),
            ("mount.allowed", "btrfs, xfs"),
            ("mount.fuse", "ext4=fuse2fs"),
            ("mount.shift", "true"),
        ]);
        let mount = |kind: &CString, flags: u64| {
            let texts = [&source, &target, kind, &options].map(|text| text.as_ptr() as u64);
            ask(&with, 165, [texts[0], texts[1], texts[2], flags, texts[3], 0])
        };
        let Some(Call::Mount(wanted)) = call(mount(&xfs, 1)) else {
            panic!("xfs is allowed")
        };
        assert_eq!(
            (wanted.kind.as_slice(), wanted.flags, wanted.shift),
            (&b"xfs"[..], 1, true)
        );
        let Decision::PerformInside(asked) = mount(&ext4, 0x401) else {
            panic!("ext4 is a program's")
        };
        let Call::Run { command, .. } = asked.call else {
            panic!("a program runs")
        };
        let words = ["fuse2fs", "/dev/sda", "/mnt", "-o", "discard,ro,noatime"];
        assert_eq!(command, words.map(|word| word.as_bytes().to_vec()));
        let go_on = Decision::Answer(Verdict::Continue);
        assert_eq!(mount(&text("vfat"), 0), go_on);
        assert_eq!(mount(&xfs, 0x1000), go_on, "a bind mount");
    }

    #[test]
    fn the_caller_is_scheduled_by_its_number_on_the_host() {
        let priority = 10_i32;
        let with = instance(&[("sched_setscheduler", "true")]);
        let args = |pid| [pid, 1, (&raw const priority) as u64, 0, 0, 0];
        let asked = |pid| call(ask(&with, 144, args(pid)));
        assert!(matches!(
            asked(0),
            Some(Call::Scheduler {
                on_host: true,
                pid: 12,
                policy: 1,
                priority: 10
            })
        ));
        assert!(matches!(
            asked(5),
            Some(Call::Scheduler {
                on_host: false,
                pid: 5,
                ..
            })
        ));
    }
}
