//! The folder with the daemon's socket for instances: it comes and goes while a container runs, as `security.devlxd` says.

use std::path::PathBuf;

use super::guest::Container;
use crate::devices::Mount;
use crate::error::Error;
use crate::instance::Instance;

impl Container {
    /// Shows the folder inside, or hides it.
    pub(super) async fn change_socket(&self, old: &Instance, new: &Instance) -> Result<(), Error> {
        let wants = |instance: &Instance| !instance.is_unset("security.devlxd");
        let folder = Mount {
            source: new.paths.devlxd.clone(),
            target: PathBuf::from("dev/lxd"),
            removes_target: true,
            ..Mount::default()
        };
        match (wants(old), wants(new)) {
            (true, false) => self.eject(new, &folder).await,
            (false, true) => self.inject(new, &folder).await,
            _ => Ok(()),
        }
    }
}
