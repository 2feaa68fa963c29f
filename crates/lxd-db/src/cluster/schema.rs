//! The tables of the cluster database: made in one transaction, checked and brought up to date at each start.

use dqlite::{Connection, Value};
use jiff::Timestamp;

use super::Options;
use crate::{Error, Result, architecture};

/// The tables of LXD 5.0.2.
const TABLES: &str = include_str!("schema.sql");

/// The version of [`TABLES`].
const BASE: i64 = 60;

/// What each version after [`BASE`] changes, in order; the first brings [`BASE`] + 1.
const STEPS: &[&str] = &[];

/// The newest version that is known here.
pub const VERSION: i64 = BASE + STEPS.len() as i64;

/// Makes the tables, or brings them up to date.
pub(super) async fn prepare(connection: &mut Connection, options: &Options) -> Result<()> {
    let tables = connection
        .query_once("SELECT count(*) FROM sqlite_master WHERE name = 'schema'")
        .await?;
    if tables.first().map(|row| row.get::<i64>(0)).transpose()? == Some(0) {
        return create(connection, options).await;
    }
    let versions = connection.query_once("SELECT max(version) FROM schema").await?;
    let found = versions
        .first()
        .map(|row| row.get::<Option<i64>>(0))
        .transpose()?
        .flatten()
        .unwrap_or(0);
    if found > VERSION {
        return Err(Error::Newer {
            database: "cluster",
            found,
            supported: VERSION,
        });
    }
    if found < BASE {
        return Err(Error::Older {
            database: "cluster",
            found,
            supported: BASE,
        });
    }
    upgrade(connection, found).await
}

/// The id of the member with this address.
pub(super) async fn node_id(connection: &mut Connection, address: &str) -> Result<i64> {
    let rows = connection
        .query("SELECT id FROM nodes WHERE address = ?", &[address.into()])
        .await?;
    match rows.first() {
        Some(row) => Ok(row.get(0)?),
        None => Err(Error::not_found(crate::Noun::Node, address)),
    }
}

async fn create(connection: &mut Connection, options: &Options) -> Result<()> {
    let now = now();
    let rows = format!(
        "INSERT INTO schema (version, updated_at) VALUES ({VERSION}, {now});
         INSERT INTO projects (name, description) VALUES ('default', 'Default LXD project');
         INSERT INTO projects_config (project_id, key, value) VALUES
           (1, 'features.images', 'true'), (1, 'features.profiles', 'true'),
           (1, 'features.storage.volumes', 'true'), (1, 'features.networks', 'true');
         INSERT INTO profiles (name, description, project_id) VALUES ('default', 'Default LXD profile', 1);
         INSERT INTO cluster_groups (name, description) VALUES ('default', 'Default cluster group');",
    );
    let steps = STEPS.concat();
    // One message and one commit: each further one would cost a write to the disk.
    connection
        .execute_batch(&format!("BEGIN IMMEDIATE;\n{TABLES}\n{steps}\n{rows}"))
        .await?;
    let node = "INSERT INTO nodes (name, description, address, schema, api_extensions, arch)
         VALUES ('none', '', ?, ?, ?, ?)";
    let architecture = architecture::id(architecture::local())?;
    let values: [Value; 4] = [
        options.address.as_str().into(),
        VERSION.into(),
        options.api_extensions.into(),
        architecture.into(),
    ];
    connection.execute(node, &values).await?;
    connection
        .execute_batch("INSERT INTO nodes_cluster_groups (node_id, group_id) VALUES (1, 1); COMMIT")
        .await?;
    Ok(())
}

async fn upgrade(connection: &mut Connection, found: i64) -> Result<()> {
    let done = usize::try_from(found - BASE).unwrap_or(0);
    for (step, version) in STEPS.iter().skip(done).zip(found + 1..) {
        let now = now();
        let sql = format!(
            "BEGIN IMMEDIATE;\n{step}\n
             INSERT INTO schema (version, updated_at) VALUES ({version}, {now});
             UPDATE nodes SET schema = {version} WHERE schema < {version}; COMMIT",
        );
        connection.execute_batch(&sql).await?;
    }
    Ok(())
}

/// Seconds since 1970: what the reference writes into the table of versions.
fn now() -> i64 {
    Timestamp::now().as_second()
}
