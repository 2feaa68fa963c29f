//! Writes a container's seccomp policy in liblxc's format. Pure.

use crate::instance::Instance;

/// What no container may do: load another kernel or modules, open files by handle, unmount by force.
const DEFAULT: &str = "\
[all]
reject_force_umount
[all]
kexec_load errno 38
open_by_handle_at errno 38
init_module errno 38
finit_module errno 38
delete_module errno 38
";

/// The system calls of 32-bit and x32 programs that differ from the native ones.
const COMPAT: [&str; 34] = [
    "compat_sys_rt_sigaction",
    "stub_x32_rt_sigreturn",
    "compat_sys_ioctl",
    "compat_sys_readv",
    "compat_sys_writev",
    "compat_sys_recvfrom",
    "compat_sys_sendmsg",
    "compat_sys_recvmsg",
    "stub_x32_execve",
    "compat_sys_ptrace",
    "compat_sys_rt_sigpending",
    "compat_sys_rt_sigtimedwait",
    "compat_sys_rt_sigqueueinfo",
    "compat_sys_sigaltstack",
    "compat_sys_timer_create",
    "compat_sys_mq_notify",
    "compat_sys_kexec_load",
    "compat_sys_waitid",
    "compat_sys_set_robust_list",
    "compat_sys_get_robust_list",
    "compat_sys_vmsplice",
    "compat_sys_move_pages",
    "compat_sys_preadv64",
    "compat_sys_pwritev64",
    "compat_sys_rt_tgsigqueueinfo",
    "compat_sys_recvmmsg",
    "compat_sys_sendmmsg",
    "compat_sys_process_vm_readv",
    "compat_sys_process_vm_writev",
    "compat_sys_setsockopt",
    "compat_sys_getsockopt",
    "compat_sys_io_setup",
    "compat_sys_io_submit",
    "stub_x32_execveat",
];

/// What lets the daemon answer calls: no filter of the container's own may do so at the same time.
const NO_LISTENERS: &str = "\
seccomp errno 22 [1,2146435072,SCMP_CMP_MASKED_EQ,2146435072]
seccomp errno 22 [1,8,SCMP_CMP_MASKED_EQ,8]
";

/// The calls that the daemon answers, by the key's end: character and block devices, one byte of value, no flags of changed
/// mounts. Where mounts are answered, the newer interface for them is not there.
const INTERCEPTED: [(&str, &str); 5] = [
    (
        "mknod",
        "\
mknod notify [1,8192,SCMP_CMP_MASKED_EQ,61440]
mknod notify [1,24576,SCMP_CMP_MASKED_EQ,61440]
mknodat notify [2,8192,SCMP_CMP_MASKED_EQ,61440]
mknodat notify [2,24576,SCMP_CMP_MASKED_EQ,61440]
",
    ),
    (
        "bpf",
        "\
bpf notify [0,5,SCMP_CMP_EQ]
bpf notify [0,8,SCMP_CMP_EQ]
bpf notify [0,9,SCMP_CMP_EQ]
",
    ),
    ("sched_setscheduler", "sched_setscheduler notify\n"),
    ("setxattr", "setxattr notify [3,1,SCMP_CMP_EQ]\n"),
    (
        "mount",
        "\
mount notify [3,0,SCMP_CMP_MASKED_EQ,18446744070422410016]
fsopen errno 38
fsconfig errno 38
fsinfo errno 38
fsmount errno 38
fspick errno 38
open_tree errno 38
move_mount errno 38
openat2 errno 38
",
    ),
];

/// Whether the daemon answers calls of this instance.
pub(crate) fn intercepts(instance: &Instance) -> bool {
    // The host's root needs nobody to do anything for it.
    let is_on = |name: &str| instance.is_set(&format!("security.syscalls.intercept.{name}"));
    instance.idmap.is_some() && INTERCEPTED.iter().any(|(name, _)| is_on(name))
}

fn intercepted(instance: &Instance) -> String {
    if !intercepts(instance) {
        return String::new();
    }
    let is_on = |name: &str| instance.is_set(&format!("security.syscalls.intercept.{name}"));
    let lines = INTERCEPTED.iter().filter(|(name, _)| is_on(name));
    NO_LISTENERS.to_owned() + &lines.map(|(_, text)| *text).collect::<String>()
}

/// The policy's text; none where the configuration turns every part of it off.
pub(crate) fn policy(instance: &Instance) -> Option<String> {
    // The keys' old names are still accepted.
    let either = |new: &str, old: &str| instance.config(new).or_else(|| instance.config(old));
    if let Some(raw) = instance.config("raw.seccomp") {
        return Some(raw.to_owned());
    }
    if let Some(allowed) = either("security.syscalls.allow", "security.syscalls.whitelist") {
        return Some(format!("2\nallowlist\n[all]\n{}\n", allowed.trim_end()));
    }
    let denied = either("security.syscalls.deny", "security.syscalls.blacklist");
    let default = !instance.is_unset("security.syscalls.deny_default")
        && !instance.is_unset("security.syscalls.blacklist_default");
    let compat = instance.is_set("security.syscalls.deny_compat")
        || instance.is_set("security.syscalls.blacklist_compat");
    let intercepted = intercepted(instance);
    if denied.is_none() && !default && !compat && intercepted.is_empty() {
        return None;
    }
    let mut text = String::from("2\ndenylist\n");
    if default {
        text += DEFAULT;
    } else if !intercepted.is_empty() {
        text += "[all]\n";
    }
    text += &intercepted;
    if compat {
        text += &format!("[{}]\n", instance.architecture);
        COMPAT
            .iter()
            .for_each(|name| text += &format!("{name} errno 38\n"));
    }
    if let Some(denied) = denied {
        text += &format!("[all]\n{}\n", denied.trim_end());
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::tests::plain;

    #[test]
    fn policies_by_configuration() {
        let policy = |config: &[(&str, &str)]| {
            let mut instance = plain("/x".as_ref(), "c");
            instance.config = config
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect();
            policy(&instance)
        };
        assert_eq!(policy(&[]).unwrap(), format!("2\ndenylist\n{DEFAULT}"));
        assert_eq!(policy(&[("security.syscalls.deny_default", "false")]), None);
        assert_eq!(
            policy(&[
                ("security.syscalls.deny_default", "false"),
                ("security.syscalls.deny", "mount\nfoo")
            ])
            .unwrap(),
            "2\ndenylist\n[all]\nmount\nfoo\n"
        );
        assert_eq!(
            policy(&[("security.syscalls.allow", "read")]).unwrap(),
            "2\nallowlist\n[all]\nread\n"
        );
        assert_eq!(policy(&[("raw.seccomp", "2\nx")]).unwrap(), "2\nx");
        let answered = policy(&[("security.syscalls.intercept.setxattr", "true")]).unwrap();
        let wanted = format!("2\ndenylist\n{DEFAULT}{NO_LISTENERS}setxattr notify [3,1,SCMP_CMP_EQ]\n");
        assert_eq!(answered, wanted);
        let compat = policy(&[("security.syscalls.blacklist_compat", "true")]).unwrap();
        assert!(compat.contains("[x86_64]\ncompat_sys_rt_sigaction errno 38\n"));
    }
}
