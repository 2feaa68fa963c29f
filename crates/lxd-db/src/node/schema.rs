//! The tables of the node database: made in one transaction, checked and brought up to date at each start.

use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior};

use crate::{Error, Result};

/// The tables of LXD 5.0.2.
const TABLES: &str = include_str!("schema.sql");

/// Our own tables. `lxdrs_journal` lists operations with the steps they have taken, for recovery after a crash.
const OWN_TABLES: &str = "
CREATE TABLE IF NOT EXISTS lxdrs_journal (
    id TEXT PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL,
    project TEXT NOT NULL,
    description TEXT NOT NULL,
    state TEXT NOT NULL,
    step INTEGER NOT NULL,
    steps TEXT NOT NULL,
    params TEXT NOT NULL,
    resources TEXT NOT NULL,
    metadata TEXT NOT NULL,
    result TEXT NOT NULL,
    error TEXT,
    error_kind TEXT,
    created_at DATETIME NOT NULL,
    updated_at DATETIME NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS lxdrs_journal_unfinished ON lxdrs_journal (created_at) WHERE state IN ('running', 'undoing');
";

/// The version of [`TABLES`].
const BASE: i64 = 42;

/// What each version after [`BASE`] changes, in order; the first brings [`BASE`] + 1.
const STEPS: &[&str] = &[];

/// The newest version that is known here.
pub const VERSION: i64 = BASE + STEPS.len() as i64;

/// The reference's one-time patches, which it records so as not to run them again. All are about data of versions
/// before 5.0.2, so a new database has them from the start.
const PATCHES: [&str; 16] = [
    "storage_lvm_skipactivation",
    "clustering_drop_database_role",
    "network_clear_bridge_volatile_hwaddr",
    "move_backups_instances",
    "network_ovn_enable_nat",
    "network_ovn_remove_routes",
    "network_fan_enable_nat",
    "thinpool_typo_fix",
    "vm_rename_uuid_key",
    "db_nodes_autoinc",
    "network_acl_remove_defaults",
    "clustering_server_cert_trust",
    "warnings_remove_empty_node",
    "dnsmasq_entries_include_device_name",
    "storage_missing_snapshot_records",
    "pool_fix_default_permissions",
];

/// Opens the file, with its tables as they should be.
pub(super) fn open(directory: &Path) -> Result<Connection> {
    match fs::DirBuilder::new().create(directory) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Error::File {
                action: "create",
                path: directory.to_owned(),
                source,
            });
        }
        _ => {}
    }
    let path = directory.join("local.db");
    let failed = |action| {
        let path = path.clone();
        move |source| Error::Node { path, action, source }
    };
    let mut connection = Connection::open(&path).map_err(failed("open"))?;
    configure(&connection).map_err(failed("open"))?;
    match found_version(&connection).map_err(failed("read its version from"))? {
        None => create(&mut connection).map_err(failed("create its tables"))?,
        Some(found) if found > VERSION => {
            return Err(Error::Newer {
                database: "node",
                found,
                supported: VERSION,
            });
        }
        Some(found) if found < BASE => {
            return Err(Error::Older {
                database: "node",
                found,
                supported: BASE,
            });
        }
        Some(found) => upgrade(&mut connection, found).map_err(failed("upgrade"))?,
    }
    patch(&mut connection, directory, &path)?;
    Ok(connection)
}

/// One write to the disk makes a commit durable: the log's. The reference opens such files as well.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(32);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Pages kept in memory, in KiB: the file has some dozens of them.
    connection.pragma_update(None, "cache_size", -256)
}

fn found_version(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let exists: bool = connection.query_row(
        "SELECT count(*) > 0 FROM sqlite_master WHERE name = 'schema'",
        [],
        |row| row.get(0),
    )?;
    if !exists {
        return Ok(None);
    }
    connection
        .query_row("SELECT coalesce(max(version), 0) FROM schema", [], |row| {
            row.get(0)
        })
        .map(Some)
}

fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    // Seconds since 1970, as the reference writes them here.
    let now = Timestamp::now().as_second();
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(TABLES)?;
    tx.execute_batch(OWN_TABLES)?;
    tx.execute_batch(&STEPS.concat())?;
    tx.execute(
        "INSERT INTO schema (version, updated_at) VALUES (?, ?)",
        (VERSION, now),
    )?;
    let mut patch = tx.prepare("INSERT INTO patches (name, applied_at) VALUES (?, ?)")?;
    for name in PATCHES {
        patch.execute((name, now))?;
    }
    drop(patch);
    tx.commit()
}

fn upgrade(connection: &mut Connection, found: i64) -> rusqlite::Result<()> {
    let own: bool = connection.query_row(
        "SELECT count(*) > 0 FROM sqlite_master WHERE name = 'lxdrs_journal'",
        [],
        |row| row.get(0),
    )?;
    if own && found == VERSION {
        return Ok(());
    }
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(OWN_TABLES)?;
    let done = usize::try_from(found - BASE).unwrap_or(0);
    for (step, version) in STEPS.iter().skip(done).zip(found + 1..) {
        tx.execute_batch(step)?;
        let now = Timestamp::now().as_second();
        tx.execute(
            "INSERT INTO schema (version, updated_at) VALUES (?, ?)",
            (version, now),
        )?;
    }
    tx.commit()
}

/// Runs the administrator's `patch.local.sql` in one transaction, and removes it once that is committed.
fn patch(connection: &mut Connection, directory: &Path, database: &Path) -> Result<()> {
    let path = directory.join("patch.local.sql");
    let sql = match fs::read_to_string(&path) {
        Ok(sql) => sql,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(Error::File {
                action: "read",
                path,
                source,
            });
        }
    };
    let backup = directory.join("local.db.bak");
    let copied = remove_if_there(&backup).and_then(|()| {
        connection
            .execute("VACUUM INTO ?", [backup.to_string_lossy()])
            .map_err(io::Error::other)
    });
    copied.map_err(|source| Error::File {
        action: "write",
        path: backup.clone(),
        source,
    })?;
    let run = |connection: &mut Connection| {
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch(&sql)?;
        tx.commit()
    };
    if let Err(source) = run(connection) {
        let source = Box::new(Error::Node {
            path: database.to_owned(),
            action: "run a patch",
            source,
        });
        return Err(Error::Patch { path, backup, source });
    }
    fs::remove_file(&path).map_err(|source| Error::File {
        action: "remove",
        path,
        source,
    })
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
