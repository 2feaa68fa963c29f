//! Bindings of `lxc/lxccontainer.h` and `lxc/attach_options.h`, as far as the wrapper needs them.
//!
//! `struct lxc_container` is a table of function pointers. Its order is ABI: 5.0.2 and 7.0.0 agree on every
//! member up to `devpts_fd`. Members that nobody calls stand here as [`Unused`], for their place. Members
//! that are newer than an installed library may lie behind the end of what it allocated: check
//! [`lxc_has_api_extension`] before you call one that came after 4.0.
#![allow(unsafe_code, reason = "foreign functions")]
#![allow(non_camel_case_types, reason = "the names are those of the C headers")]
#![allow(missing_docs, reason = "the C headers document these")]

use std::ffi::{c_char, c_int, c_long, c_uint, c_void};

use libc::{gid_t, pid_t, uid_t};

/// A member that is only here for its place in the table.
pub type Unused = *mut c_void;

#[repr(C)]
pub struct lxc_container {
    pub name: *mut c_char,
    pub configfile: *mut c_char,
    pub pidfile: *mut c_char,
    pub slock: Unused,
    pub privlock: Unused,
    pub numthreads: c_int,
    pub lxc_conf: Unused,
    pub error_string: *mut c_char,
    pub error_num: c_int,
    pub daemonize: bool,
    pub config_path: *mut c_char,
    pub is_defined: Unused,
    pub state: Option<unsafe extern "C" fn(*mut lxc_container) -> *const c_char>,
    pub is_running: Unused,
    pub freeze: Unused,
    pub unfreeze: Unused,
    pub init_pid: Option<unsafe extern "C" fn(*mut lxc_container) -> pid_t>,
    pub load_config: Option<unsafe extern "C" fn(*mut lxc_container, *const c_char) -> bool>,
    pub start: Option<unsafe extern "C" fn(*mut lxc_container, c_int, *const *mut c_char) -> bool>,
    pub startl: Unused,
    pub stop: Unused,
    pub want_daemonize: Option<unsafe extern "C" fn(*mut lxc_container, bool) -> bool>,
    pub want_close_all_fds: Option<unsafe extern "C" fn(*mut lxc_container, bool) -> bool>,
    pub config_file_name: Unused,
    pub wait: Unused,
    pub set_config_item:
        Option<unsafe extern "C" fn(*mut lxc_container, *const c_char, *const c_char) -> bool>,
    pub destroy: Unused,
    pub save_config: Unused,
    pub create: Unused,
    pub createl: Unused,
    pub rename: Unused,
    pub reboot: Unused,
    pub shutdown: Unused,
    pub clear_config: Unused,
    pub clear_config_item: Unused,
    pub get_config_item:
        Option<unsafe extern "C" fn(*mut lxc_container, *const c_char, *mut c_char, c_int) -> c_int>,
    pub get_running_config_item: Unused,
    pub get_keys: Unused,
    pub get_interfaces: Unused,
    pub get_ips: Unused,
    pub get_cgroup_item: Unused,
    pub set_cgroup_item:
        Option<unsafe extern "C" fn(*mut lxc_container, *const c_char, *const c_char) -> bool>,
    pub get_config_path: Unused,
    pub set_config_path: Unused,
    pub clone: Unused,
    pub console_getfd: Option<unsafe extern "C" fn(*mut lxc_container, *mut c_int, *mut c_int) -> c_int>,
    pub console: Unused,
    pub attach: Option<
        unsafe extern "C" fn(
            *mut lxc_container,
            lxc_attach_exec_t,
            *mut c_void,
            *mut lxc_attach_options_t,
            *mut pid_t,
        ) -> c_int,
    >,
    pub attach_run_wait: Unused,
    pub attach_run_waitl: Unused,
    pub snapshot: Unused,
    pub snapshot_list: Unused,
    pub snapshot_restore: Unused,
    pub snapshot_destroy: Unused,
    pub may_control: Unused,
    pub add_device_node: Unused,
    pub remove_device_node: Unused,
    pub attach_interface: Unused,
    pub detach_interface: Unused,
    pub checkpoint: Unused,
    pub restore: Unused,
    pub destroy_with_snapshots: Unused,
    pub snapshot_destroy_all: Unused,
    pub migrate: Option<unsafe extern "C" fn(*mut lxc_container, c_uint, *mut migrate_opts, c_uint) -> c_int>,
    pub console_log: Option<unsafe extern "C" fn(*mut lxc_container, *mut lxc_console_log) -> c_int>,
    pub reboot2: Unused,
    pub mount: Unused,
    pub umount: Unused,
    pub seccomp_notify_fd: Unused,
    pub seccomp_notify_fd_active: Unused,
    pub init_pidfd: Unused,
    pub devpts_fd: Option<unsafe extern "C" fn(*mut lxc_container) -> c_int>,
}

pub type lxc_attach_exec_t = Option<unsafe extern "C" fn(payload: *mut c_void) -> c_int>;

pub const LXC_ATTACH_CLEAR_ENV: c_int = 1;
pub const LXC_ATTACH_MOVE_TO_CGROUP: c_int = 1;
pub const LXC_ATTACH_DEFAULT: c_int = 0x0000_FFFF;
pub const LXC_ATTACH_DETECT_PERSONALITY: c_long = !0;

#[repr(C)]
pub struct lxc_groups_t {
    pub size: usize,
    pub list: *mut gid_t,
}

#[repr(C)]
pub struct lxc_attach_options_t {
    pub attach_flags: c_int,
    pub namespaces: c_int,
    pub personality: c_long,
    pub initial_cwd: *mut c_char,
    pub uid: uid_t,
    pub gid: gid_t,
    pub env_policy: c_int,
    pub extra_env_vars: *mut *mut c_char,
    pub extra_keep_env: *mut *mut c_char,
    pub stdin_fd: c_int,
    pub stdout_fd: c_int,
    pub stderr_fd: c_int,
    pub log_fd: c_int,
    pub lsm_label: *mut c_char,
    pub groups: lxc_groups_t,
}

#[repr(C)]
pub struct lxc_console_log {
    pub clear: bool,
    pub read: bool,
    pub read_max: *mut u64,
    pub data: *mut c_char,
}

pub const MIGRATE_DUMP: c_uint = 1;
pub const MIGRATE_RESTORE: c_uint = 2;

#[repr(C)]
pub struct migrate_opts {
    pub directory: *mut c_char,
    pub verbose: bool,
    pub stop: bool,
    pub predump_dir: *mut c_char,
    pub pageserver_address: *mut c_char,
    pub pageserver_port: *mut c_char,
    pub preserves_inodes: bool,
    pub action_script: *mut c_char,
    pub disable_skip_in_flight: bool,
    pub ghost_limit: u64,
    pub features_to_check: u64,
}

#[repr(C)]
pub struct lxc_log {
    pub name: *const c_char,
    pub lxcpath: *const c_char,
    pub file: *const c_char,
    pub level: *const c_char,
    pub prefix: *const c_char,
    pub quiet: bool,
}

unsafe extern "C" {
    pub fn lxc_container_new(name: *const c_char, configpath: *const c_char) -> *mut lxc_container;
    pub fn lxc_container_put(container: *mut lxc_container) -> c_int;
    pub fn lxc_get_version() -> *const c_char;
    pub fn lxc_has_api_extension(extension: *const c_char) -> bool;
    pub fn lxc_config_item_is_supported(key: *const c_char) -> bool;
    pub fn lxc_log_init(log: *mut lxc_log) -> c_int;
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    /// The figures were printed by a C program compiled with the headers of liblxc 5.0.2 on x86-64; they hold
    /// on every 64-bit machine.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn offsets_are_those_of_the_c_headers() {
        assert_eq!(offset_of!(lxc_container, error_string), 56);
        assert_eq!(offset_of!(lxc_container, daemonize), 68);
        assert_eq!(offset_of!(lxc_container, config_path), 72);
        assert_eq!(offset_of!(lxc_container, state), 88);
        assert_eq!(offset_of!(lxc_container, init_pid), 120);
        assert_eq!(offset_of!(lxc_container, load_config), 128);
        assert_eq!(offset_of!(lxc_container, start), 136);
        assert_eq!(offset_of!(lxc_container, want_daemonize), 160);
        assert_eq!(offset_of!(lxc_container, want_close_all_fds), 168);
        assert_eq!(offset_of!(lxc_container, set_config_item), 192);
        assert_eq!(offset_of!(lxc_container, console_getfd), 352);
        assert_eq!(offset_of!(lxc_container, attach), 368);
        assert_eq!(offset_of!(lxc_container, migrate), 496);
        assert_eq!(offset_of!(lxc_container, console_log), 504);
        assert_eq!(offset_of!(migrate_opts, stop), 9);
        assert_eq!(offset_of!(migrate_opts, preserves_inodes), 40);
        assert_eq!(offset_of!(migrate_opts, ghost_limit), 64);
        assert_eq!(size_of::<migrate_opts>(), 80);
        assert_eq!(offset_of!(lxc_container, init_pidfd), 552);
        assert_eq!(offset_of!(lxc_container, devpts_fd), 560);
        assert_eq!(size_of::<lxc_container>(), 568);
        assert_eq!(offset_of!(lxc_attach_options_t, personality), 8);
        assert_eq!(offset_of!(lxc_attach_options_t, initial_cwd), 16);
        assert_eq!(offset_of!(lxc_attach_options_t, uid), 24);
        assert_eq!(offset_of!(lxc_attach_options_t, env_policy), 32);
        assert_eq!(offset_of!(lxc_attach_options_t, extra_env_vars), 40);
        assert_eq!(offset_of!(lxc_attach_options_t, extra_keep_env), 48);
        assert_eq!(offset_of!(lxc_attach_options_t, stdin_fd), 56);
        assert_eq!(offset_of!(lxc_attach_options_t, log_fd), 68);
        assert_eq!(offset_of!(lxc_attach_options_t, lsm_label), 72);
        assert_eq!(offset_of!(lxc_attach_options_t, groups), 80);
        assert_eq!(size_of::<lxc_attach_options_t>(), 96);
        assert_eq!(offset_of!(lxc_console_log, read_max), 8);
        assert_eq!(offset_of!(lxc_console_log, data), 16);
        assert_eq!(size_of::<lxc_console_log>(), 24);
        assert_eq!(offset_of!(lxc_log, quiet), 40);
    }
}
