//! The members of the Raft cluster as this one last knew them; empty on a host that is alone.

use super::Node;
use crate::Result;

/// A member of the Raft cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftNode {
    /// The Raft id.
    pub id: i64,
    /// Where it listens.
    pub address: String,
    /// 0 voter, 1 stand-by, 2 spare.
    pub role: i64,
    /// The member's name.
    pub name: String,
}

impl Node {
    /// All members, by id.
    ///
    /// # Errors
    /// [`crate::Error::Node`] when reading fails.
    pub async fn raft_nodes(&self) -> Result<Vec<RaftNode>> {
        self.call("read the Raft members", |connection| {
            let mut statement =
                connection.prepare("SELECT id, address, role, name FROM raft_nodes ORDER BY id")?;
            let rows = statement.query_map([], |row| {
                Ok(RaftNode {
                    id: row.get(0)?,
                    address: row.get(1)?,
                    role: row.get(2)?,
                    name: row.get(3)?,
                })
            })?;
            rows.collect()
        })
        .await
    }

    /// Replaces all members in one commit.
    ///
    /// # Errors
    /// [`crate::Error::Node`] when writing fails.
    pub async fn replace_raft_nodes(&self, members: Vec<RaftNode>) -> Result<()> {
        self.call("write the Raft members", move |connection| {
            let tx = connection.transaction()?;
            tx.execute("DELETE FROM raft_nodes", [])?;
            for member in &members {
                let sql = "INSERT INTO raft_nodes (id, address, role, name) VALUES (?, ?, ?, ?)";
                tx.execute(sql, (member.id, &member.address, member.role, &member.name))?;
            }
            tx.commit()
        })
        .await
    }
}
