//! The cluster database on a real node.

use super::*;

mod images;
mod instances;
mod reference;
mod shared;

/// A configuration, or a device.
pub(super) fn config<const N: usize>(keys: [(&str, &str); N]) -> crate::Config {
    keys.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// Devices.
pub(super) fn devices<const N: usize>(devices: [(&str, crate::Config); N]) -> crate::Devices {
    devices.map(|(name, keys)| (name.to_owned(), keys)).into()
}

pub(super) async fn cluster() -> (tempfile::TempDir, Cluster) {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::open(Options::standalone(directory.path(), 318))
        .await
        .unwrap();
    (directory, cluster)
}

async fn count(tx: &mut Tx, table: &str) -> i64 {
    let rows = tx
        .query_once(&format!("SELECT count(*) FROM {table}"))
        .await
        .unwrap();
    rows.first().unwrap().get(0).unwrap()
}

#[tokio::test]
async fn a_new_database_has_the_reference_s_tables_and_rows() {
    let (_directory, cluster) = cluster().await;
    let schema = cluster.dump(false).await.unwrap();
    let expected = format!(
        "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n{}COMMIT;\n",
        include_str!("../schema.sql")
    )
    .replace("CREATE TABLE \"", "CREATE TABLE IF NOT EXISTS \"");
    assert_eq!(schema, expected);
    let dump = cluster.dump(true).await.unwrap();
    for line in [
        "INSERT INTO cluster_groups VALUES(1,'default','Default cluster group');",
        "INSERT INTO profiles VALUES(1,'default','Default LXD profile',1);",
        "INSERT INTO projects_config VALUES(4,1,'features.networks','true');",
        "INSERT INTO nodes_cluster_groups VALUES(1,1);",
        "INSERT INTO sqlite_sequence VALUES('projects_config',4);",
    ] {
        assert!(dump.contains(line), "{line} in {dump}");
    }
    assert!(
        dump.contains("INSERT INTO nodes VALUES(1,'none','','0.0.0.0',60,318,'"),
        "{dump}"
    );
    assert_eq!(cluster.node_id(), 1);
}

#[tokio::test]
async fn a_dropped_transaction_leaves_nothing_and_a_committed_one_all() {
    let (_directory, cluster) = cluster().await;
    let insert = "INSERT INTO config (key, value) VALUES (?, ?)";
    let mut tx = cluster.begin().await.unwrap();
    tx.execute(insert, &["a".into(), "1".into()]).await.unwrap();
    // A reader goes on meanwhile, on what was committed.
    assert_eq!(count(&mut cluster.read().await.unwrap(), "config").await, 0);
    drop(tx);
    let mut tx = cluster.begin().await.unwrap();
    assert_eq!(count(&mut tx, "config").await, 0);
    tx.execute(insert, &["a".into(), "1".into()]).await.unwrap();
    let taken = tx.execute(insert, &["a".into(), "1".into()]).await.unwrap_err();
    assert!(matches!(&taken, Error::Cluster(source) if source.is_unique_violation()));
    tx.commit().await.unwrap();
    let mut tx = cluster.read().await.unwrap();
    assert_eq!(count(&mut tx, "config").await, 1);
    assert!(matches!(
        tx.execute(insert, &["b".into(), "1".into()]).await,
        Err(Error::ReadOnly(_))
    ));
}

#[tokio::test]
async fn a_reader_sees_one_moment() {
    let (_directory, cluster) = cluster().await;
    let mut reader = cluster.read().await.unwrap();
    assert_eq!(count(&mut reader, "config").await, 0);
    cluster
        .run_sql("INSERT INTO config (key, value) VALUES ('a', '1')")
        .await
        .unwrap();
    assert_eq!(count(&mut reader, "config").await, 0);
    drop(reader);
    assert_eq!(count(&mut cluster.read().await.unwrap(), "config").await, 1);
}

#[tokio::test]
async fn writers_queue_and_abandoned_ones_make_room() {
    let (_directory, cluster) = cluster().await;
    cluster
        .run_sql("INSERT INTO config (key, value) VALUES ('n', '0')")
        .await
        .unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..20 {
        let cluster = cluster.clone();
        tasks.spawn(async move {
            let mut tx = cluster.begin().await.unwrap();
            let work = async {
                tx.execute("UPDATE config SET value = value + 1 WHERE key = 'n'", &[])
                    .await
                    .unwrap();
                tx.commit().await.unwrap();
            };
            // Every fourth is dropped wherever it stands, as when a client goes away.
            if task % 4 == 0 {
                let _ = tokio::time::timeout(std::time::Duration::from_micros(30), work).await;
            } else {
                work.await;
            }
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
    let mut tx = cluster.read().await.unwrap();
    let rows = tx
        .query_once("SELECT CAST(value AS INTEGER) FROM config")
        .await
        .unwrap();
    let value: i64 = rows.first().unwrap().get(0).unwrap();
    assert!((15..=20).contains(&value), "{value}");
}

#[tokio::test]
async fn it_opens_again_after_closing_and_leaves_a_file_for_sqlite() {
    let (directory, cluster) = cluster().await;
    cluster
        .run_sql("INSERT INTO config (key, value) VALUES ('a', '1')")
        .await
        .unwrap();
    cluster.close().await.unwrap();
    assert!(matches!(cluster.begin().await, Err(Error::Closed)));
    assert!(matches!(cluster.read().await, Err(Error::Closed)));
    let file = rusqlite::Connection::open(directory.path().join("global/db.bin")).unwrap();
    let rows: i64 = file
        .query_row("SELECT count(*) FROM config", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 1);
    let cluster = Cluster::open(Options::standalone(directory.path(), 318))
        .await
        .unwrap();
    assert_eq!(count(&mut cluster.read().await.unwrap(), "config").await, 1);
}

#[tokio::test]
async fn sql_of_users_is_run_statement_by_statement() {
    let (_directory, cluster) = cluster().await;
    let text =
        "insert into config (key, value) values ('a', 'b;c'); select key, value, NULL as n from config";
    let outcomes = cluster.run_sql(text).await.unwrap();
    assert_eq!(outcomes[0], Outcome::Executed { rows_affected: 1 });
    let expected = Outcome::Selected {
        columns: vec!["key".into(), "value".into(), "n".into()],
        rows: vec![vec!["a".into(), "b;c".into(), serde_json::Value::Null]],
    };
    assert_eq!(outcomes[1], expected);
    let error = cluster.run_sql("select nope from config").await.unwrap_err();
    assert_eq!(error.to_string(), "no such column: nope");
    // Deleting cascades.
    cluster
        .run_sql("PRAGMA foreign_keys=ON; DELETE FROM projects")
        .await
        .unwrap();
    assert_eq!(count(&mut cluster.read().await.unwrap(), "profiles").await, 0);
}

#[tokio::test]
async fn other_versions_are_refused_with_both_numbers() {
    let (directory, cluster) = cluster().await;
    cluster
        .run_sql("INSERT INTO schema (version, updated_at) VALUES (73, '')")
        .await
        .unwrap();
    cluster.close().await.unwrap();
    let error = Cluster::open(Options::standalone(directory.path(), 318))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the cluster database has schema version 73, which is newer than 60, the newest this version knows"
    );
}

#[tokio::test]
async fn a_patch_file_runs_once_and_a_bad_one_keeps_a_copy() {
    let (directory, cluster) = cluster().await;
    cluster.close().await.unwrap();
    let path = directory.path().join("patch.global.sql");
    std::fs::write(
        &path,
        "INSERT INTO config (key, value) VALUES ('x', '1');\nUPDATE config SET value = '2';",
    )
    .unwrap();
    let cluster = Cluster::open(Options::standalone(directory.path(), 318))
        .await
        .unwrap();
    assert_eq!(count(&mut cluster.read().await.unwrap(), "config").await, 1);
    assert!(!path.exists());
    cluster.close().await.unwrap();
    std::fs::write(&path, "DELETE FROM config; INSERT INTO nope VALUES (1);").unwrap();
    let error = Cluster::open(Options::standalone(directory.path(), 318))
        .await
        .unwrap_err();
    assert!(error.chain().contains("no such table: nope"), "{}", error.chain());
    assert!(directory.path().join("global.bak/metadata1").exists());
    std::fs::remove_file(&path).unwrap();
    let cluster = Cluster::open(Options::standalone(directory.path(), 318))
        .await
        .unwrap();
    assert_eq!(count(&mut cluster.read().await.unwrap(), "config").await, 1);
}
