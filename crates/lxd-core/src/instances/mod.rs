//! Instances: made, changed, started, stopped, shown, and what runs in them.

mod backup_file;
pub mod backups;
pub mod boot;
mod cards;
mod checks;
mod console;
mod copy;
#[cfg(test)]
mod copy_tests;
mod create;
mod delete;
pub mod devlxd;
mod disk_usage;
mod exec;
pub mod files;
mod follow;
mod instance_types;
mod list;
pub mod logs;
pub mod metadata;
mod migrate;
mod ports;
pub(crate) mod publish;
mod record;
pub mod recover;
mod refresh;
mod relocate;
mod rename;
mod runtime;
mod saving;
#[cfg(test)]
mod saving_tests;
mod shift;
#[cfg(test)]
mod shift_tests;
mod sizes;
pub mod snapshots;
mod source;
mod start;
mod state;
mod stop;
mod templates;
#[cfg(test)]
pub(crate) mod tests;
mod update;
mod volatile;
mod volumes;

pub(crate) use backup_file::refresh as refresh_backup_file;
pub(crate) use checks::allowed_here;
pub use console::console;
pub use create::create;
pub(crate) use create::steps_of;
pub use delete::delete;
pub use exec::exec;
pub use list::{Wanted, get, get_full, list, list_full, names, require, state};
pub use rename::rename;
pub(crate) use runtime::Guard;
pub use runtime::Runtime;
pub use state::{change, change_all};
pub use update::{patch, update};
pub(crate) use volumes::check_change as check_volume_ids;

use crate::operations::Works;

/// The kinds of works of this noun.
pub(crate) fn works(works: &mut Works) {
    backups::works(works);
    copy::works(works);
    create::works(works);
    delete::works(works);
    migrate::works(works);
    recover::works(works);
    refresh::works(works);
    relocate::works(works);
    rename::works(works);
    saving::works(works);
    snapshots::works(works);
    start::works(works);
    stop::works(works);
    update::works(works);
    volumes::works(works);
}

/// The URL of an instance.
pub fn url(project: &str, name: &str) -> String {
    crate::urls::object(project, &["instances", name])
}
