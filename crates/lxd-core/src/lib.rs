//! The use cases of LXD, one folder per noun; operations, events and the daemon's wiring.
//!
//! # How to add a use case
//!
//! 1. The noun picks the file: `instances/start.rs`, with the words of the API.
//! 2. A use case is `pub async fn start(app: &Arc<App>, ctx: &Ctx, ...) -> Result<...>`; wire types come in and go out.
//! 3. First ask who calls: `ctx.require_admin()?`, or `ctx.require_project()?` for what belongs to a project.
//! 4. Validate with the rules of `lxd-model`. No rule and no text is written twice.
//! 5. Changes take `if_match: Option<&str>` and call [`etag::check`]; getters give a [`etag::Tagged`].
//! 6. One side effect (a transaction, say): do it, and then `app.events.lifecycle(&project, &Lifecycle::new(..).by(ctx))`.
//! 7. Several: a struct with [`operations::Work`] that lists its [`steps!`], each with its undo, then
//!    [`operations::start`] (202) or [`operations::run`] (200). Add the kind to the noun's `works` function, which
//!    `app.rs` calls, and prove it with [`operations::testing`].
//! 8. Long work of one side effect: `app.operations.spawn(ctx, Options::task(Kind::..).resource("images", fp), |op| ..)`.
//! 9. Errors: `?` on a mechanism's error keeps its kind; `.context("Failed ...")` says what was being done.
//! 10. Nothing here knows HTTP: the edge decodes, makes one call, encodes.

pub mod activation;
pub mod app;
pub mod certificates;
pub mod clock;
pub mod cluster;
pub mod ctx;
pub mod error;
pub mod etag;
pub mod events;
pub mod images;
pub mod instances;
mod migration;
pub mod networks;
pub mod operations;
pub mod patch;
pub mod paths;
pub mod profiles;
pub mod projects;
mod reserve;
pub mod resources;
pub mod server;
pub mod sql;
mod startup;
pub mod storage_pools;
pub mod storage_volumes;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod timers;
pub mod urls;
pub mod warnings;

pub use app::{App, StartOptions};
pub use ctx::{Caller, Ctx, DEFAULT_PROJECT};
pub use error::{Context, Error, Result};
pub use etag::Tagged;
