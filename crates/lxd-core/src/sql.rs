//! SQL as the administrator types it, for repairs: `lxd sql`.

use std::sync::Arc;

use lxd_db::sql::Outcome;
use serde::Serialize;
use serde_json::Value;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};

/// One of the daemon's databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// This member's own.
    Local,
    /// The one that all members share.
    Global,
}

impl Database {
    /// The database with a name.
    ///
    /// # Errors
    /// There is none.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "local" => Ok(Self::Local),
            "global" => Ok(Self::Global),
            _ => Err(Error::bad_request("Invalid database")),
        }
    }
}

/// What the statements of a query did, in the order in which they stand.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Batch {
    /// `None` for `.sync`.
    #[serde(rename = "Results")]
    pub results: Option<Vec<Statement>>,
}

/// What one statement did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Statement {
    /// `select` or `exec`.
    pub r#type: &'static str,
    /// The names of the columns of a `select`.
    pub columns: Option<Vec<String>>,
    /// Its rows; `None` where there is none.
    pub rows: Option<Vec<Vec<Value>>>,
    /// How many rows an `exec` has changed.
    pub rows_affected: u64,
}

impl From<Outcome> for Statement {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Selected { columns, rows } => Self {
                r#type: "select",
                columns: Some(columns),
                rows: Some(rows).filter(|rows| !rows.is_empty()),
                rows_affected: 0,
            },
            Outcome::Executed { rows_affected } => Self {
                r#type: "exec",
                columns: None,
                rows: None,
                rows_affected,
            },
        }
    }
}

/// Runs a query, or writes the global database to its file (`.sync`).
///
/// # Errors
/// Only admins may; no query; what the database says to the first statement that fails. Those before it stand.
pub async fn run(app: &Arc<App>, ctx: &Ctx, database: Database, query: &str) -> Result<Batch> {
    ctx.require_admin()?;
    if query.is_empty() {
        return Err(Error::bad_request("No query provided"));
    }
    if query == ".sync" {
        app.cluster.sync().await?;
        return Ok(Batch { results: None });
    }
    let mut outcomes = Vec::new();
    for statement in lxd_db::sql::split(query) {
        let is_select = statement
            .get(..6)
            .is_some_and(|word| word.eq_ignore_ascii_case("select"));
        let outcome = match database {
            Database::Local => app.node.run_sql(&statement).await,
            Database::Global => app.cluster.run_sql(&statement).await,
        };
        let doing = if is_select {
            "Failed to execute query"
        } else {
            "Failed to exec query"
        };
        outcomes.extend(outcome.context(doing)?);
    }
    // What is kept in memory follows what was written behind its back.
    if database == Database::Global && outcomes.iter().any(|o| matches!(o, Outcome::Executed { .. })) {
        app.trust.reload(&app.cluster).await?;
        app.config.touch();
    }
    Ok(Batch {
        results: Some(outcomes.into_iter().map(Statement::from).collect()),
    })
}

/// A database as SQL text, or its empty tables alone.
///
/// # Errors
/// Only admins may; the database can't be read.
pub async fn dump(app: &Arc<App>, ctx: &Ctx, database: Database, schema_only: bool) -> Result<String> {
    ctx.require_admin()?;
    Ok(match database {
        Database::Local => app.node.dump(!schema_only).await?,
        Database::Global => app.cluster.dump(!schema_only).await?,
    })
}
