//! Saving what runs in instances, and the folders that hold it.

use std::path::Path;

use lxd_sys::path::remove_tree;

use crate::drivers::container::blocking;
pub use crate::drivers::{Saved, Saving};
use crate::error::Error;
use crate::instance::{Instance, Key};
use crate::instances::{Instances, Started};
use crate::lifecycle::Request;
use crate::owner::Message;

impl Instances {
    /// Starts an instance from what was saved.
    ///
    /// # Errors
    /// As [`Instances::start`]; [`Error::Restore`], which leaves what was saved.
    pub async fn restore(&self, instance: Instance, saved: Saved) -> Result<Started, Error> {
        self.start_from(instance, Some(saved)).await
    }

    /// Saves what runs of an instance. One that is to stop then is put away when this returns.
    ///
    /// # Errors
    /// [`Error::Refused`]; [`Error::Dump`], after which it goes on; [`Error::TearDown`] when it has stopped, but left something.
    pub async fn dump(&self, key: &Key, saving: Saving) -> Result<(), Error> {
        let message = |reply| Message::Dump { saving, reply };
        self.ask(key, Request::Dump, message).await
    }
}

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
