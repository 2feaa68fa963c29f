//! Into the root, and out of the rights that are not needed there.

use std::os::fd::{AsFd, OwnedFd};

use crate::protocol::Enter;
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, LinkNameSpaceType, Uid};

use crate::files::Failed;

/// What writing files of other users needs, and nothing more.
const KEPT: [CapabilitySet; 5] = [
    CapabilitySet::CHOWN,
    CapabilitySet::DAC_OVERRIDE,
    CapabilitySet::DAC_READ_SEARCH,
    CapabilitySet::FOWNER,
    CapabilitySet::FSETID,
];

/// Joins the namespaces, makes the root the root, and gives up what is not needed.
pub(crate) fn enter(enter: Enter, fds: Vec<OwnedFd>) -> Result<(), Failed> {
    let mut fds = fds.into_iter();
    let mut next = |doing| fds.next().ok_or(Failed::new(doing, Errno::BADF));
    let root = next("receive the root")?;
    let mounts = enter.joins_mounts.then(|| next("receive the mount namespace"));
    let users = enter.joins_users.then(|| next("receive the user namespace"));
    // The rights over the mounts come from the user namespace that owns them.
    if let Some(users) = users.transpose()? {
        join(&users, LinkNameSpaceType::User)?;
        become_root()?;
    }
    if let Some(mounts) = mounts.transpose()? {
        join(&mounts, LinkNameSpaceType::Mount)?;
    }
    rustix::process::fchdir(root.as_fd()).map_err(Failed::doing("enter the root"))?;
    rustix::process::chroot(".").map_err(Failed::doing("stay in the root"))?;
    rustix::process::chdir("/").map_err(Failed::doing("enter the root"))?;
    drop(root);
    rustix::process::umask(rustix::fs::Mode::empty());
    give_up_rights().map_err(Failed::doing("give up rights"))
}

fn join(namespace: &OwnedFd, kind: LinkNameSpaceType) -> Result<(), Failed> {
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(kind))
        .map_err(Failed::doing("join the namespaces"))
}

/// This process's user has no name in there; root's of there has.
fn become_root() -> Result<(), Failed> {
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    rustix::thread::set_thread_groups(&[]).map_err(Failed::doing("leave groups"))?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(Failed::doing("become root's group"))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(Failed::doing("become root"))
}

fn give_up_rights() -> Result<(), Errno> {
    rustix::thread::set_no_new_privs(true)?;
    let kept = KEPT
        .into_iter()
        .fold(CapabilitySet::empty(), CapabilitySet::union);
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )
}
