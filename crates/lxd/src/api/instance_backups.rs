//! `/1.0/instances/NAME/backups`.

use lxd_api::instance_backups::InstanceBackupPost;
use lxd_core::instances::backups;
use lxd_core::urls;

use crate::http::answer::{self, Outcome};
use crate::http::download;
use crate::http::request::Call;

/// Lists backups.
pub(super) async fn list(call: Call) -> Outcome {
    let [name] = call.params();
    let all = backups::list(&call.app, &call.ctx, name).await?;
    if call.recursion() > 0 {
        return answer::sync(&all);
    }
    // Also where containers are asked for, as with the reference.
    let url = |backup: &str| urls::object(&call.ctx.project, &["instances", name, "backups", backup]);
    answer::sync(&all.iter().map(|backup| url(&backup.name)).collect::<Vec<_>>())
}

/// Makes a backup.
pub(super) async fn create(mut call: Call) -> Outcome {
    let post = call.json().await?;
    let [name] = call.params();
    answer::in_background(&backups::create(&call.app, &call.ctx, name, post).await?)
}

/// Shows a backup.
pub(super) async fn get(call: Call) -> Outcome {
    let [name, backup] = call.params();
    answer::sync(&backups::get(&call.app, &call.ctx, name, backup).await?)
}

/// Renames a backup.
pub(super) async fn rename(mut call: Call) -> Outcome {
    let post: InstanceBackupPost = call.json().await?;
    let [name, backup] = call.params();
    answer::in_background(&backups::rename(&call.app, &call.ctx, name, backup, &post.name).await?)
}

/// Deletes a backup.
pub(super) async fn delete(call: Call) -> Outcome {
    let [name, backup] = call.params();
    answer::in_background(&backups::delete(&call.app, &call.ctx, name, backup).await?)
}

/// Sends a backup's file.
pub(super) async fn export(call: Call) -> Outcome {
    let [name, backup] = call.params();
    let exported = backups::export(&call.app, &call.ctx, name, backup).await?;
    let file = download::File {
        // The reference gives it none.
        filename: String::new(),
        size: exported.size,
        modified: exported.modified,
        file: exported.file,
    };
    Ok(download::whole_or_part(file, call.header("range"), ()))
}
