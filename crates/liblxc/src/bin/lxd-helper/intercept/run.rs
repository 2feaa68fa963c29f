//! Runs a program of the container's where the caller is: in its namespaces, as its user. The container's monitor can't help
//! with that, because it waits for the answer.
#![allow(unsafe_code, reason = "namespaces and identities have no safe form here")]
#![allow(
    clippy::disallowed_methods,
    reason = "this program has one thread and is what lxd-sys starts"
)]

use std::ffi::{CStr, OsStr};
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use super::place::{Place, check, open};

/// The namespaces beside those of mounts and users, which must be the last.
const NAMESPACES: [(&CStr, libc::c_int); 5] = [
    (c"ns/net", libc::CLONE_NEWNET),
    (c"ns/ipc", libc::CLONE_NEWIPC),
    (c"ns/uts", libc::CLONE_NEWUTS),
    (c"ns/cgroup", libc::CLONE_NEWCGROUP),
    (c"ns/pid", libc::CLONE_NEWPID),
];

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs a program to its end. What it leaves in the background goes on.
///
/// # Errors
/// A namespace can't be entered, the program can't be started; `EPERM` where it fails.
pub(super) fn run(process: &OwnedFd, command: &[Vec<u8>], (uid, gid): (u32, u32)) -> io::Result<()> {
    let [program, words @ ..] = command else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    confine(process)?;
    let spaces = NAMESPACES.map(|(name, kind)| Ok((open(process.as_raw_fd(), name, libc::O_RDONLY)?, kind)));
    let spaces = spaces.into_iter().collect::<io::Result<Vec<_>>>()?;
    let place = Place::enter(process, None)?;
    // SAFETY: plain system calls on open descriptors; this program has one thread.
    unsafe {
        for (space, kind) in &spaces {
            check(libc::setns(space.as_raw_fd(), *kind))?;
        }
        check(libc::setns(place.users.as_raw_fd(), libc::CLONE_NEWUSER))?;
        check(libc::setgroups(0, std::ptr::null()))?;
        check(libc::setresgid(gid, gid, gid))?;
        check(libc::setresuid(uid, uid, uid))?;
    }
    let mut child = Command::new(OsStr::from_bytes(program));
    child.args(words.iter().map(|word| OsStr::from_bytes(word)));
    child.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8");
    child
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    match child.status()?.success() {
        true => Ok(()),
        false => Err(io::Error::from_raw_os_error(libc::EPERM)),
    }
}

/// Lets the program have the caller's AppArmor profile, where there is AppArmor.
fn confine(process: &OwnedFd) -> io::Result<()> {
    let Ok(file) = open(process.as_raw_fd(), c"attr/current", libc::O_RDONLY) else {
        return Ok(());
    };
    let mut label = String::new();
    if std::fs::File::from(file).read_to_string(&mut label).is_err() {
        // No security module shows labels.
        return Ok(());
    }
    let label = label.trim_end_matches(['\n', '\0']);
    let profile = label.rsplit_once(" (").map_or(label, |(profile, _)| profile);
    if profile.is_empty() || profile == "unconfined" {
        return Ok(());
    }
    std::fs::write("/proc/self/attr/exec", format!("exec {profile}"))
}
