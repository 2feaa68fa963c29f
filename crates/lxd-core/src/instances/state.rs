//! Changing what instances do: start, stop, restart, freeze, unfreeze; one or all of a project.

use std::sync::Arc;

use futures::StreamExt as _;
use lxd_api::instance_state::InstanceStatePut;
use lxd_db::cluster::instances as rows;
use lxd_instance::Key;
use lxd_instance::lifecycle::Phase;

use super::list::all_keys;
use super::start::tell;
use super::{saving, start, stop};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::events::Action;
use crate::operations::{Kind, Operation, Options};

/// Instances that are changed at the same time when all are.
const AT_ONCE: usize = 16;

/// A change that clients can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Start,
    Stop,
    Restart,
    Freeze,
    Unfreeze,
}

impl Wish {
    fn parse(word: &str) -> Result<Self> {
        Ok(match word {
            "start" => Self::Start,
            "stop" => Self::Stop,
            "restart" => Self::Restart,
            "freeze" => Self::Freeze,
            "unfreeze" => Self::Unfreeze,
            other => return Err(Error::bad_request(format!("Unknown action: '{other}'"))),
        })
    }

    fn kind(self) -> Kind {
        match self {
            Self::Start => Kind::InstanceStart,
            Self::Stop => Kind::InstanceStop,
            Self::Restart => Kind::InstanceRestart,
            Self::Freeze => Kind::InstanceFreeze,
            Self::Unfreeze => Kind::InstanceUnfreeze,
        }
    }

    /// Whether an instance in this phase can do it: a change of all leaves the others out.
    fn concerns(self, phase: Phase) -> bool {
        match self {
            Self::Start => phase == Phase::Stopped,
            Self::Stop | Self::Restart => phase.is_running(),
            Self::Freeze => phase == Phase::Running,
            Self::Unfreeze => phase == Phase::Frozen,
        }
    }
}

/// Changes what an instance does, as an operation.
///
/// # Errors
/// Not found; the action is unknown; the caller may not. Whether it can be done the operation reports.
pub async fn change(app: &Arc<App>, ctx: &Ctx, name: &str, put: InstanceStatePut) -> Result<Operation> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    rows::id(&mut tx, &ctx.project, name).await?;
    drop(tx);
    let wish = Wish::parse(&put.action)?;
    let key = Key::new(&ctx.project, name);
    let url = crate::urls::plain(&["instances", name]);
    let options = Options::task(wish.kind()).resource_url("instances", url);
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        one(&app, &owned, &key, (wish, &put), Some(&operation)).await
    })
}

/// Changes what all instances of a project do, those that it concerns, as one operation.
///
/// # Errors
/// As [`change`]; the operation names those that failed.
pub async fn change_all(app: &Arc<App>, ctx: &Ctx, put: InstanceStatePut) -> Result<Operation> {
    ctx.require_project()?;
    let wish = Wish::parse(&put.action)?;
    let mut tx = app.cluster.read().await?;
    let mut keys = all_keys(&mut tx, &ctx.project).await?;
    drop(tx);
    keys.retain(|key| wish.concerns(app.instances.registry.phase(key)));
    let options = keys.iter().fold(Options::task(wish.kind()), |options, key| {
        options.resource_url("instances", crate::urls::plain(&["instances", &key.name]))
    });
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |_| async move {
        let all = keys.into_iter().map(|key| {
            let (app, owned, put) = (Arc::clone(&app), owned.clone(), put.clone());
            async move {
                let done = one(&app, &owned, &key, (wish, &put), None).await;
                done.map_err(|error| format!(" - Instance: {}: {}\n", key.name, error.text()))
            }
        });
        let all: Vec<_> = futures::stream::iter(all).buffered(AT_ONCE).collect().await;
        let failures: String = all.into_iter().filter_map(Result::err).collect();
        if failures.is_empty() {
            return Ok(());
        }
        Err(Error::internal(format!(
            "The following instances failed to update state:\n{failures}"
        )))
    })
}

async fn one(
    app: &Arc<App>,
    ctx: &Ctx,
    key: &Key,
    (wish, put): (Wish, &InstanceStatePut),
    operation: Option<&Operation>,
) -> Result<()> {
    let how = stop::how(put.force, put.timeout);
    let registry = &app.instances.registry;
    match wish {
        Wish::Start if put.stateful => start::resume(app, ctx, key, operation).await,
        Wish::Start => start::run(app, ctx, key, operation).await,
        Wish::Stop if put.stateful => saving::stop(app, ctx, key, operation).await,
        Wish::Stop => stop::run(app, ctx, key, how, operation).await,
        Wish::Restart => stop::restart(app, ctx, key, how, operation).await,
        Wish::Freeze => {
            registry.freeze(key).await?;
            tell(app, ctx, key, Action::InstancePaused);
            Ok(())
        }
        Wish::Unfreeze => {
            registry.unfreeze(key).await?;
            tell(app, ctx, key, Action::InstanceResumed);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_actions() {
        assert_eq!(Wish::parse("freeze").unwrap(), Wish::Freeze);
        assert_eq!(
            Wish::parse("bogus").unwrap_err().text(),
            "Unknown action: 'bogus'"
        );
        assert!(Wish::Stop.concerns(Phase::Frozen) && !Wish::Freeze.concerns(Phase::Frozen));
    }
}
