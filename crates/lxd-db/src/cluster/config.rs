//! The configuration of the whole cluster, such as `core.trust_password`.

use super::Tx;
use super::entries::json;
use crate::{Config, Result};

/// All keys that are set.
///
/// # Errors
/// [`crate::Error::Cluster`] when reading fails.
pub async fn get(tx: &mut Tx) -> Result<Config> {
    let rows = tx.query("SELECT key, value FROM config", &[]).await?;
    rows.iter()
        .map(|row| Ok((row.get(0)?, row.get::<Option<String>>(1)?.unwrap_or_default())))
        .collect()
}

/// Makes `config` the whole configuration; keys with an empty value are left out.
///
/// # Errors
/// [`crate::Error::Cluster`] when writing fails.
pub async fn replace(tx: &mut Tx, config: &Config) -> Result<()> {
    tx.execute("DELETE FROM config", &[]).await?;
    let sql = "INSERT INTO config (key, value) SELECT key, value FROM json_each(?) WHERE value != ''";
    tx.execute(sql, &[json(config)]).await?;
    Ok(())
}
