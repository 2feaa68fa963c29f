//! Packet filter rules through nft(8): one run per change, each an atomic batch.

#[cfg(test)]
mod tests;

use std::fmt::Write;

use crate::command::{self, Command, Runner};

/// The address family of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// Packets that cross a bridge.
    Bridge,
}

impl Family {
    /// The name nft gives it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Bridge => "bridge",
        }
    }
}

/// Where a base chain hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    /// `filter` or `nat`.
    pub kind: &'static str,
    /// `input`, `forward`, `output`, `prerouting` or `postrouting`.
    pub hook: &'static str,
    /// Lower comes first; 0 is the usual place of filters, 100 of source NAT, -200 of a bridge's filters.
    pub priority: i32,
}

/// Listing the rules failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// nft is not installed or refuses.
    #[error("Failed to list the chains of table \"{family} {table}\"")]
    List {
        /// The table's family.
        family: &'static str,
        /// The table.
        table: String,
        /// What went wrong.
        #[source]
        source: command::Error,
    },
    /// nft answered something that is not its JSON.
    #[error("Failed to read the chains of table \"{family} {table}\"")]
    Malformed {
        /// The table's family.
        family: &'static str,
        /// The table.
        table: String,
        /// Where it breaks off.
        #[source]
        source: serde_json::Error,
    },
}

/// Changes of one table that happen together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    family: Family,
    table: String,
    text: String,
    empty: bool,
}

impl Batch {
    /// Changes of this table, which is made when it isn't there. Other tables are never touched.
    pub fn new(family: Family, table: &str) -> Self {
        let text = format!("add table {} {table}\n", family.as_str());
        Self {
            family,
            table: table.to_owned(),
            text,
            empty: true,
        }
    }

    /// Makes a base chain with exactly these rules, whether it was there or not.
    pub fn replace_chain(&mut self, chain: &str, hook: Hook, rules: &[String]) -> &mut Self {
        let (family, table) = (self.family.as_str(), &self.table);
        let Hook { kind, hook, priority } = hook;
        // Writing to a string can't fail.
        let _ = writeln!(
            self.text,
            "add chain {family} {table} {chain} {{ type {kind} hook {hook} priority {priority}; policy accept; }}"
        );
        let _ = writeln!(self.text, "flush chain {family} {table} {chain}");
        for rule in rules {
            let _ = writeln!(self.text, "add rule {family} {table} {chain} {rule}");
        }
        self.empty = false;
        self
    }

    /// Deletes a chain with its rules, if it is there.
    pub fn delete_chain(&mut self, chain: &str) -> &mut Self {
        let (family, table) = (self.family.as_str(), &self.table);
        // Deleting what isn't there is an error to nft, and `destroy` is younger than Debian 12: make it first.
        let _ = writeln!(self.text, "add chain {family} {table} {chain}");
        let _ = writeln!(self.text, "flush chain {family} {table} {chain}");
        let _ = writeln!(self.text, "delete chain {family} {table} {chain}");
        self.empty = false;
        self
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.empty
    }

    /// What nft will read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Makes the changes: one process, about 5 ms.
    ///
    /// # Errors
    /// [`command::Error`]; nothing has changed then.
    pub async fn apply(&self, runner: &dyn Runner) -> Result<(), command::Error> {
        if self.empty {
            return Ok(());
        }
        runner
            .run(Command::new("nft").args(["-f", "-"]).input(self.text.as_str()))
            .await?;
        Ok(())
    }
}

/// Whether nft is installed.
pub fn is_installed() -> bool {
    Command::new("nft").resolve().is_ok()
}

/// The names of a table's chains; none when there is no such table.
///
/// # Errors
/// [`Error`].
pub async fn chains(runner: &dyn Runner, family: Family, table: &str) -> Result<Vec<String>, Error> {
    let names = (family.as_str(), table.to_owned());
    // One listing of all chains: that of a missing table alone would be an error.
    let command = Command::new("nft").args(["-j", "list", "chains", family.as_str()]);
    let output = runner.run(command).await.map_err(|source| Error::List {
        family: names.0,
        table: names.1.clone(),
        source,
    })?;
    parse_chains(&output.stdout, family, table).map_err(|source| Error::Malformed {
        family: names.0,
        table: names.1,
        source,
    })
}

fn parse_chains(json: &[u8], family: Family, table: &str) -> Result<Vec<String>, serde_json::Error> {
    let answer: serde_json::Value = serde_json::from_slice(json)?;
    let objects = answer["nftables"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let ours = objects
        .iter()
        .map(|object| &object["chain"])
        .filter(|chain| chain["family"] == family.as_str() && chain["table"] == table);
    Ok(ours
        .filter_map(|chain| chain["name"].as_str())
        .map(str::to_owned)
        .collect())
}
