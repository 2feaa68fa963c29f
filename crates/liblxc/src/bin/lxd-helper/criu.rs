//! Runs CRIU without liblxc, which can't have a container saved a second time where control groups are of version 2 alone: the
//! monitor of one that was brought back does not know its freezer.
#![allow(unsafe_code, reason = "fork and exec")]

use std::ffi::{CString, c_char};
use std::io;
use std::path::Path;

use liblxc::saved;

/// Where the one hierarchy is.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Whether there is one hierarchy only.
pub(crate) fn has_one_hierarchy() -> bool {
    Path::new(CGROUPS).join("cgroup.controllers").is_file()
}

/// Saves what runs below a process, with the arguments that liblxc would have given. `mounts` are the lines of
/// `lxc.mount.entry`.
pub(crate) fn dump(init: i32, part: &Path, mounts: &str, stops: bool) -> Result<(), String> {
    let words =
        arguments(init, part, mounts, stops).map_err(|e| format!("looking at process {init}: {e}"))?;
    let words: Result<Vec<CString>, _> = words.into_iter().map(CString::new).collect();
    let words = words.map_err(|e| e.to_string())?;
    let status = run(&words).map_err(|e| format!("running criu: {e}"))?;
    match status {
        0 => Ok(()),
        status => Err(format!("criu ended with status {status}")),
    }
}

fn arguments(init: i32, part: &Path, mounts: &str, stops: bool) -> io::Result<Vec<String>> {
    let group = std::fs::read_to_string(format!("/proc/{init}/cgroup"))?;
    let group = group.lines().find_map(|line| line.strip_prefix("0::/"));
    let group = group.ok_or_else(|| io::Error::other("it is in no control group"))?;
    let controllers = std::fs::read_to_string(Path::new(CGROUPS).join("cgroup.controllers"))?;
    let controllers: Vec<&str> = controllers.split_whitespace().collect();
    let folder = part.display();
    let fixed = "criu dump --tcp-established --file-locks --link-remap --manage-cgroups=full --ext-mount-map auto \
                 --enable-external-sharing --enable-external-masters --enable-fs hugetlbfs --enable-fs tracefs -v4 \
                 --skip-in-flight --force-irmap --ghost-limit 268435456";
    let mut words: Vec<String> = fixed.split_whitespace().map(str::to_owned).collect();
    let mut add = |option: &str, value: String| words.extend([option.to_owned(), value]);
    add("-D", folder.to_string());
    add("-o", part.join(saved::DUMP_LOG).display().to_string());
    add("-t", init.to_string());
    add("--cgroup-root", format!("{}:{group}", controllers.join(",")));
    add("--freeze-cgroup", format!("{CGROUPS}/{group}"));
    for target in mounts.lines().filter_map(bound) {
        add("--ext-mount-map", format!("/{target}:{target}"));
    }
    if !stops {
        words.push("--leave-running".to_owned());
    }
    Ok(words)
}

/// Where a mount of something that is there already goes, without the escapes of fstab(5).
fn bound(line: &str) -> Option<String> {
    let mut fields = line.split_whitespace();
    let (target, options) = (fields.nth(1)?, fields.nth(1)?);
    if !options
        .split(',')
        .any(|option| matches!(option, "bind" | "rbind"))
    {
        return None;
    }
    let target = target
        .trim_start_matches('/')
        .replace("\\040", " ")
        .replace("\\011", "\t");
    Some(target.replace("\\134", "\\"))
}

fn run(words: &[CString]) -> io::Result<i32> {
    let pointers = words.iter().map(|word| word.as_ptr());
    let pointers: Vec<*const c_char> = pointers.chain([std::ptr::null()]).collect();
    // SAFETY: this process has one thread; the strings end with NUL, their list with NULL, and both outlive the calls.
    unsafe {
        match libc::fork() {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                // From outside of all groups it sees all of them.
                let _ = std::fs::write(Path::new(CGROUPS).join("cgroup.procs"), "0");
                libc::execvp(pointers[0], pointers.as_ptr());
                libc::_exit(127)
            }
            child => {
                let mut status = 0;
                while libc::waitpid(child, &raw mut status, 0) < 0 {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
                Ok(status)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_bound_is_told_and_without_escapes() {
        let told = |line: &str| bound(line);
        assert_eq!(
            told("/dev/fuse dev/fuse none bind,create=file,optional 0 0").unwrap(),
            "dev/fuse"
        );
        assert_eq!(
            told("/x /mnt/a\\040b none rbind,create=dir 0 0").unwrap(),
            "mnt/a b"
        );
        assert_eq!(told("proc dev/.lxc/proc proc create=dir,optional 0 0"), None);
        assert_eq!(told("odd"), None);
    }

    #[test]
    fn what_goes_on_is_left_running() {
        if !has_one_hierarchy() {
            return;
        }
        let own = i32::try_from(std::process::id()).unwrap();
        let has = |stops| {
            let words = arguments(own, Path::new("/x"), "", stops).unwrap();
            words.contains(&"--leave-running".to_owned())
        };
        assert!(has(false) && !has(true));
    }
}
