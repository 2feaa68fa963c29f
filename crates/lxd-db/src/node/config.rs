//! The configuration of this member, such as `core.https_address`.

use super::Node;
use crate::{Config, Result};

impl Node {
    /// All keys that are set.
    ///
    /// # Errors
    /// [`crate::Error::Node`] when reading fails.
    pub async fn config(&self) -> Result<Config> {
        self.call("read its configuration", |connection| {
            let mut statement = connection.prepare_cached("SELECT key, coalesce(value, '') FROM config")?;
            statement
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .await
    }

    /// Replaces the whole configuration in one commit; keys with an empty value are left out.
    ///
    /// # Errors
    /// [`crate::Error::Node`] when writing fails.
    pub async fn replace_config(&self, config: &Config) -> Result<()> {
        let config = config.clone();
        self.call("write its configuration", move |connection| {
            let tx = connection.transaction()?;
            tx.prepare_cached("DELETE FROM config")?.execute([])?;
            let mut insert = tx.prepare_cached("INSERT INTO config (key, value) VALUES (?, ?)")?;
            for (key, value) in config.iter().filter(|(_, value)| !value.is_empty()) {
                insert.execute((key, value))?;
            }
            drop(insert);
            tx.commit()
        })
        .await
    }
}
