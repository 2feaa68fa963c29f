//! Transactions on the cluster database.

use std::sync::Arc;

use dqlite::{Connection, Executed, Rows, Value};
use tokio::sync::OwnedSemaphorePermit;

use super::pool::{Pool, Writer};
use crate::sql::{self, Outcome};
use crate::{Error, Result};

/// A transaction. Dropping it without [`Tx::commit`] rolls it back.
#[derive(Debug)]
pub struct Tx {
    /// There until the transaction ends.
    connection: Option<Connection>,
    access: Access,
}

#[derive(Debug)]
enum Access {
    /// Holds the only place of the writer until the end.
    Write(Writer),
    Read {
        pool: Arc<Pool>,
        _permit: OwnedSemaphorePermit,
    },
}

impl Tx {
    pub(super) async fn write(pool: &Arc<Pool>) -> Result<Self> {
        let (place, connection) = pool.begin().await?;
        Ok(Self {
            connection: Some(connection),
            access: Access::Write(place),
        })
    }

    pub(super) async fn read(pool: &Arc<Pool>) -> Result<Self> {
        let (permit, connection) = pool.reader().await?;
        Ok(Self {
            connection: Some(connection),
            access: Access::Read {
                pool: Arc::clone(pool),
                _permit: permit,
            },
        })
    }

    /// Makes the transaction's effects durable.
    ///
    /// # Errors
    /// [`Error::Cluster`] when the engine refuses: nothing was written then, unless leadership was lost in that moment.
    pub async fn commit(mut self) -> Result<()> {
        if matches!(self.access, Access::Write(_)) {
            self.connection()?.execute_batch("COMMIT").await?;
            if let (Some(connection), Access::Write(place)) = (self.connection.take(), &mut self.access) {
                **place = Some(connection);
            }
        }
        Ok(())
    }

    /// Runs a statement that gives no rows.
    pub(crate) async fn execute(&mut self, sql: &str, parameters: &[Value]) -> Result<Executed> {
        if matches!(self.access, Access::Read { .. }) {
            return Err(Error::ReadOnly(sql.to_owned()));
        }
        Ok(self.connection()?.execute(sql, parameters).await?)
    }

    /// Runs a query.
    pub(crate) async fn query(&mut self, sql: &str, parameters: &[Value]) -> Result<Rows> {
        Ok(self.connection()?.query(sql, parameters).await?)
    }

    /// Runs one statement that a user typed.
    pub(crate) async fn run(&mut self, statement: &str) -> Result<Outcome> {
        let connection = self.connection()?;
        if sql::gives_rows(statement) {
            sql::check_names(statement)?;
            let rows = connection.query_once(statement).await.map_err(sql::refused)?;
            return Ok(Outcome::from_rows(&rows));
        }
        let executed = connection.execute_batch(statement).await.map_err(sql::refused)?;
        Ok(Outcome::Executed {
            rows_affected: executed.rows_affected,
        })
    }

    /// Runs a query without keeping its statement.
    pub(crate) async fn query_once(&mut self, sql: &str) -> Result<Rows> {
        Ok(self.connection()?.query_once(sql).await?)
    }

    fn connection(&mut self) -> Result<&mut Connection> {
        self.connection.as_mut().ok_or(Error::Closed)
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        // One whose request was abandoned half way is closed here, which rolls back as well.
        if !connection.send_detached("ROLLBACK") {
            return;
        }
        match &mut self.access {
            Access::Write(place) => **place = Some(connection),
            Access::Read { pool, .. } => pool.give_back(connection),
        }
    }
}
