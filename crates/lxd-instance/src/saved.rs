//! The folders that hold what ran in instances. All of this waits for files: not for async code.

use std::path::Path;

use lxd_sys::path::remove_tree;

use crate::drivers::container::blocking;
pub use crate::drivers::{Saved, Saving};
use crate::error::Error;

/// Whether all of what ran is in the folder. Waits for whoever still fills it: the helper does so also when the daemon that
/// asked for it has died.
///
/// # Errors
/// [`Error::File`].
pub async fn is_there(folder: &Path) -> Result<bool, Error> {
    let folder = folder.to_owned();
    blocking(move || {
        liblxc::saved::outlast(&folder).map_err(Error::file("wait for", &folder))?;
        Ok(folder.is_dir())
    })
    .await
}

/// Removes the folder, finished or not. Nothing there is fine.
///
/// # Errors
/// [`Error::File`], [`Error::Path`].
pub async fn remove(folder: &Path) -> Result<(), Error> {
    let folder = folder.to_owned();
    blocking(move || {
        liblxc::saved::outlast(&folder).map_err(Error::file("wait for", &folder))?;
        let trees = [liblxc::saved::unfinished(&folder), folder];
        trees
            .iter()
            .try_for_each(|tree| remove_tree(tree).map_err(Error::Path))
    })
    .await
}
