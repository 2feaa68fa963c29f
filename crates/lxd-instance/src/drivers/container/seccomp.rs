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
    if denied.is_none() && !default && !compat {
        return None;
    }
    let mut text = String::from("2\ndenylist\n");
    if default {
        text += DEFAULT;
    }
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
        let compat = policy(&[("security.syscalls.blacklist_compat", "true")]).unwrap();
        assert!(compat.contains("[x86_64]\ncompat_sys_rt_sigaction errno 38\n"));
    }
}
