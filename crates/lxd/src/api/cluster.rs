//! `/1.0/cluster`.

use lxd_core::cluster;

use crate::http::answer::{self, Outcome};
use crate::http::request::Call;

/// Shows the cluster.
pub(super) async fn get(call: Call) -> Outcome {
    answer::sync(&cluster::get(&call.app, &call.ctx).await?)
}

/// Lists, shows, changes and removes members.
pub(super) async fn members(call: Call) -> Outcome {
    cluster::members(&call.ctx)?;
    answer::empty()
}

/// Lets a server join; lists, makes, shows and changes groups.
pub(super) async fn whole(call: Call) -> Outcome {
    cluster::whole(&call.ctx)?;
    answer::empty()
}

/// Renames a member.
pub(super) async fn rename_member(call: Call) -> Outcome {
    cluster::row(&call.ctx, false)?;
    answer::empty()
}

/// Deletes a group.
pub(super) async fn delete_group(call: Call) -> Outcome {
    cluster::row(&call.ctx, true)?;
    answer::empty()
}

/// Evacuates or restores a member.
pub(super) async fn change_state(call: Call) -> Outcome {
    cluster::member(&call.ctx)?;
    answer::empty()
}
