//! Linux behind traits: processes, mounts, namespaces, cgroups, netlink, nft, sysfs. Knows no word of LXD's.

pub mod bpf;
pub mod btrfs;
pub mod cgroup;
pub mod command;
pub mod loops;
pub mod memory;
pub mod mount;
pub mod netlink;
pub mod nft;
pub mod path;
pub mod process;
pub mod quota;
pub mod seccomp;
pub mod system;
pub mod userns;
pub mod watch;
