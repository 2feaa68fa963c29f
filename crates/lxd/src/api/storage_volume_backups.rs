//! `/1.0/storage-pools/{name}/volumes/{type}/{volume}/backups`.

use lxd_api::storage_volumes::StoragePoolVolumeBackupPost;
use lxd_core::storage_volumes::{self, backups};

use crate::http::answer::{self, Outcome};
use crate::http::download;
use crate::http::request::Call;

/// Lists backups.
pub(super) async fn list(call: Call) -> Outcome {
    let path: [&str; 3] = call.params();
    let all = backups::list(&call.app, &call.ctx, path).await?;
    if call.recursion() > 0 {
        return answer::sync(&all);
    }
    let url = |name: &str| storage_volumes::url_of(path, "backups", name);
    answer::sync(&all.iter().map(|one| url(&one.name)).collect::<Vec<_>>())
}

/// Makes a backup.
pub(super) async fn create(mut call: Call) -> Outcome {
    let post = call.json().await?;
    answer::in_background(&backups::create(&call.app, &call.ctx, call.params(), post).await?)
}

/// Shows a backup.
pub(super) async fn get(call: Call) -> Outcome {
    let [pool, kind, volume, name] = call.params();
    answer::sync(&backups::get(&call.app, &call.ctx, [pool, kind, volume], name).await?)
}

/// Renames a backup.
pub(super) async fn rename(mut call: Call) -> Outcome {
    let post: StoragePoolVolumeBackupPost = call.json().await?;
    let [pool, kind, volume, name] = call.params();
    let path = [pool, kind, volume];
    answer::in_background(&backups::rename(&call.app, &call.ctx, path, name, &post.name).await?)
}

/// Deletes a backup.
pub(super) async fn delete(call: Call) -> Outcome {
    let [pool, kind, volume, name] = call.params();
    answer::in_background(&backups::delete(&call.app, &call.ctx, [pool, kind, volume], name).await?)
}

/// Sends a backup's file.
pub(super) async fn export(call: Call) -> Outcome {
    let [pool, kind, volume, name] = call.params();
    let exported = backups::export(&call.app, &call.ctx, [pool, kind, volume], name).await?;
    let file = download::File {
        // The reference gives it none.
        filename: String::new(),
        size: exported.size,
        modified: exported.modified,
        file: exported.file,
    };
    Ok(download::whole_or_part(file, call.header("range"), ()))
}
