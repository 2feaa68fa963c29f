//! The server itself: what `GET /1.0` says, and its configuration.

mod config;
mod environment;
pub mod facts;
pub mod password;
pub mod plan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use lxd_api::extensions::EXTENSIONS;
use lxd_api::server::{Server, ServerPut, ServerUntrusted};
use lxd_model::config::Scope;
use serde_json::Value;

pub use config::{ConfigChange, ConfigHook, ServerConfig};

pub(crate) use environment::addresses;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::etag::{self, Tagged};
use crate::events::{Action, Lifecycle};

/// What the server tells a trusted caller. Configuration is for admins only. The answer is the same until
/// [`ServerConfig::revision`] moves, except for `environment.addresses` while `core.https_address` is a wildcard.
///
/// # Errors
/// The caller is not trusted; the database can't be read.
pub async fn get(app: &Arc<App>, ctx: &Ctx) -> Result<Tagged<Server>> {
    ctx.require_trusted()?;
    let config = app.config.all();
    let writable = ServerPut {
        config: plan::shown(&config),
    };
    let shown = if ctx.is_admin() {
        writable.config.clone()
    } else {
        BTreeMap::new()
    };
    let public = untrusted(app);
    let server = Server {
        config: shown,
        api_extensions: public.api_extensions,
        api_status: public.api_status,
        api_version: public.api_version,
        auth: "trusted".into(),
        public: false,
        auth_methods: public.auth_methods,
        environment: environment::get(app, &ctx.project).await?,
    };
    Ok(Tagged::new(server, &writable))
}

/// What the server tells anybody.
pub fn untrusted(app: &App) -> ServerUntrusted {
    let mut auth_methods = vec!["tls".to_owned()];
    if !app.config.get("candid.api.url").is_empty() {
        auth_methods.push("candid".into());
    }
    ServerUntrusted {
        api_extensions: EXTENSIONS.iter().map(|name| (*name).to_owned()).collect(),
        api_status: "stable".into(),
        api_version: "1.0".into(),
        auth: "untrusted".into(),
        public: false,
        auth_methods,
    }
}

/// Replaces the configuration.
///
/// # Errors
/// Only admins may; `If-Match` does not match; a bad key or value; what a change leads to failed, and then nothing has
/// changed.
pub async fn update(app: &Arc<App>, ctx: &Ctx, put: ServerPut, if_match: Option<&str>) -> Result<()> {
    change(app, ctx, &put.config, true, if_match).await
}

/// Changes some keys of the configuration; empty and `null` values take a key away.
///
/// # Errors
/// As [`update`].
pub async fn patch(app: &Arc<App>, ctx: &Ctx, patch: ServerPut, if_match: Option<&str>) -> Result<()> {
    change(app, ctx, &patch.config, false, if_match).await
}

async fn change(
    app: &Arc<App>,
    ctx: &Ctx,
    asked: &BTreeMap<String, Value>,
    replace: bool,
    if_match: Option<&str>,
) -> Result<()> {
    ctx.require_admin()?;
    let _turn = app.config.turn().await;
    let old = app.config.all();
    etag::check(
        if_match,
        &ServerPut {
            config: plan::shown(&old),
        },
    )?;
    let mut plan = plan::plan(&old, asked, replace)?;
    hash_password(&mut plan).await?;
    if !plan.changed.is_empty() {
        let change = ConfigChange {
            old: (*old).clone(),
            new: plan.new.clone(),
            changed: plan.changed.clone(),
        };
        app.config.follow(&change).await?;
        if let Err(error) = store(app, &plan).await {
            app.config.follow_back(&change).await;
            return Err(error);
        }
        app.config.set(plan.new);
    }
    app.events.lifecycle(
        crate::DEFAULT_PROJECT,
        &Lifecycle::new(Action::ConfigUpdated, "/1.0").by(ctx),
    );
    Ok(())
}

async fn hash_password(plan: &mut plan::Plan) -> Result<()> {
    const KEY: &str = "core.trust_password";
    if plan.changed.contains(KEY)
        && let Some(password) = plan.new.get(KEY)
    {
        let hash = password::hash(password.clone()).await?;
        plan.new.insert(KEY.into(), hash);
    }
    Ok(())
}

/// Writes both parts. Each is one commit; keys do not depend on each other, so a crash between the two leaves a valid
/// configuration.
async fn store(app: &App, plan: &plan::Plan) -> Result<()> {
    let of_scope = |scope| {
        let keys = plan
            .new
            .iter()
            .filter(move |(key, _)| plan::scope_of(key) == scope);
        keys.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let (global, local) = (plan.changes(Scope::Global), plan.changes(Scope::Local));
    let mut tx = app.cluster.begin().await?;
    if !global.is_empty() {
        lxd_db::cluster::config::replace(&mut tx, &of_scope(Scope::Global)).await?;
    }
    // Local keys are written before the cluster's commit, so that a failure of either leaves the cluster's as it was.
    if !local.is_empty() {
        app.node.replace_config(&of_scope(Scope::Local)).await?;
    }
    if global.is_empty() {
        Ok(())
    } else {
        tx.commit().await.map_err(Error::from)
    }
}
