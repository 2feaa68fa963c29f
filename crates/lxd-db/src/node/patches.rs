//! Patches that were run once and must not run again.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Node;
use crate::Result;

impl Node {
    /// The names of the patches that have run.
    ///
    /// # Errors
    /// [`crate::Error::Node`] when reading fails.
    pub async fn patches(&self) -> Result<BTreeSet<String>> {
        self.call("read its patches", |connection| {
            connection
                .prepare("SELECT name FROM patches")?
                .query_map([], |row| row.get(0))?
                .collect()
        })
        .await
    }

    /// Records that a patch has run; recording it twice changes nothing.
    ///
    /// # Errors
    /// [`crate::Error::Node`] when writing fails.
    pub async fn add_patch(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.call("record a patch", move |connection| {
            let now = Timestamp::now().as_second();
            let sql = "INSERT OR IGNORE INTO patches (name, applied_at) VALUES (?, ?)";
            connection.execute(sql, (name, now)).map(|_| ())
        })
        .await
    }
}
