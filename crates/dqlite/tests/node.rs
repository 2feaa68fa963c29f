//! A real node of the C library, and statements, rows and errors through its socket.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use dqlite::{Error, Node, NodeConfig, Value};

async fn node() -> (tempfile::TempDir, Node) {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(NodeConfig::standalone(directory.path()))
        .await
        .unwrap();
    (directory, node)
}

#[tokio::test]
async fn every_type_comes_back_as_it_went() {
    let (_directory, node) = node().await;
    let mut connection = node.connect("db.bin").await.unwrap();
    connection
        .execute_batch("CREATE TABLE t (i INTEGER, f REAL, t TEXT, b BLOB, n TEXT, d DATETIME, u TIMESTAMP, y BOOLEAN, e DATETIME)")
        .await
        .unwrap();
    let values = [
        Value::Integer(i64::MIN),
        Value::Float(0.1),
        Value::Text("grüße".into()),
        Value::Blob(vec![0, 255, 1]),
        Value::Null,
        Value::Iso8601("2026-11-24 03:22:45+00:00".into()),
        Value::UnixTime(1_700_000_000),
        Value::Boolean(true),
        Value::Null,
    ];
    let executed = connection
        .execute("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", &values)
        .await
        .unwrap();
    assert_eq!((executed.last_insert_id, executed.rows_affected), (1, 1));
    let rows = connection.query("SELECT * FROM t", &[]).await.unwrap();
    let row = rows.first().unwrap();
    assert_eq!(&row.values()[..8], &values[..8]);
    assert_eq!(row.get::<Option<String>>(8).unwrap(), None);
    assert_eq!(row.get::<&str>(2).unwrap(), "grüße");
    assert!(row.get::<bool>(7).unwrap());
    let wrong = row.get::<i64>(2).unwrap_err();
    assert_eq!(wrong.to_string(), "column 2 (t) holds text, not an integer");
    let beyond = row.get::<i64>(9).unwrap_err();
    assert_eq!(beyond.to_string(), "there is no column 9 in a row of 9");
    drop(connection);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn many_rows_arrive_in_parts_and_in_order() {
    let (_directory, node) = node().await;
    let mut connection = node.connect("db.bin").await.unwrap();
    connection
        .execute_batch("CREATE TABLE t (n INTEGER, t TEXT)")
        .await
        .unwrap();
    let fill = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 5000)
        INSERT INTO t SELECT n, 'row number ' || n FROM c";
    assert_eq!(connection.execute_batch(fill).await.unwrap().rows_affected, 5000);
    let rows = connection
        .query("SELECT n, t FROM t ORDER BY n", &[])
        .await
        .unwrap();
    assert_eq!(rows.len(), 5000);
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(row.get::<i64>(0).unwrap(), index as i64 + 1);
        assert_eq!(row.get::<&str>(1).unwrap(), format!("row number {}", index + 1));
    }
}

#[tokio::test]
async fn refusals_leave_the_connection_usable() {
    let (_directory, node) = node().await;
    let mut connection = node.connect("db.bin").await.unwrap();
    connection
        .execute_batch("CREATE TABLE t (n TEXT UNIQUE)")
        .await
        .unwrap();
    for attempt in 0..3 {
        let result = connection
            .execute("INSERT INTO t VALUES (?)", &["a".into()])
            .await;
        assert_eq!(result.is_err(), attempt > 0);
        if let Err(error) = result {
            assert!(error.is_unique_violation(), "{error:?}");
            assert!(!error.is_fatal());
            assert_eq!(error.to_string(), "UNIQUE constraint failed: t.n");
        }
    }
    let error = connection.query("SELECT nope FROM t", &[]).await.unwrap_err();
    assert_eq!(error.to_string(), "no such column: nope");
    assert_eq!(
        connection
            .query("SELECT count(*) FROM t", &[])
            .await
            .unwrap()
            .first()
            .unwrap()
            .get::<i64>(0)
            .unwrap(),
        1
    );
}

#[tokio::test]
async fn a_second_writer_is_told_that_the_database_is_busy() {
    let (_directory, node) = node().await;
    let mut first = node.connect("db.bin").await.unwrap();
    let mut second = node.connect("db.bin").await.unwrap();
    first.execute_batch("CREATE TABLE t (n INTEGER)").await.unwrap();
    first.execute_batch("BEGIN IMMEDIATE").await.unwrap();
    let error = second.execute_batch("BEGIN IMMEDIATE").await.unwrap_err();
    assert!(error.is_busy(), "{error:?}");
    // A reader is not in the way, and sees nothing of what is not committed.
    first.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap();
    assert_eq!(second.query("SELECT n FROM t", &[]).await.unwrap().len(), 0);
    // A connection that goes away takes its transaction with it.
    drop(first);
    let mut begun = second.execute_batch("BEGIN IMMEDIATE").await;
    for _ in 0..500 {
        if begun.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        begun = second.execute_batch("BEGIN IMMEDIATE").await;
    }
    begun.unwrap();
}

#[tokio::test]
async fn queued_and_detached_statements_keep_their_order() {
    let (_directory, node) = node().await;
    let mut connection = node.connect("db.bin").await.unwrap();
    connection
        .execute_batch("CREATE TABLE t (n INTEGER)")
        .await
        .unwrap();
    connection.queue("BEGIN").unwrap();
    connection.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap();
    assert!(connection.send_detached("ROLLBACK"));
    assert_eq!(connection.query("SELECT n FROM t", &[]).await.unwrap().len(), 0);
    // Nothing to roll back: that is not the next statement's failure.
    assert!(connection.send_detached("ROLLBACK"));
    assert_eq!(connection.query("SELECT n FROM t", &[]).await.unwrap().len(), 0);
    connection.queue("BEGIN").unwrap();
    assert!(connection.send_detached("ROLLBACK"));
    connection.execute_batch("BEGIN").await.unwrap();
    // An answer that is still to be read is not forgotten with a statement that was never sent.
    assert!(connection.send_detached("ROLLBACK"));
    connection.queue("BEGIN").unwrap();
    assert!(connection.send_detached("ROLLBACK"));
    assert_eq!(connection.query("SELECT n FROM t", &[]).await.unwrap().len(), 0);
}

#[tokio::test]
async fn more_statements_than_are_kept_prepared() {
    let (_directory, node) = node().await;
    let mut connection = node.connect("db.bin").await.unwrap();
    for round in 0..2 {
        for n in 0..150_i64 {
            let rows = connection
                .query(&format!("SELECT {n} + ?"), &[round.into()])
                .await
                .unwrap();
            assert_eq!(rows.first().unwrap().get::<i64>(0).unwrap(), n + round);
        }
    }
}

#[tokio::test]
async fn an_abandoned_call_ends_the_connection_and_its_transaction() {
    let (_directory, node) = node().await;
    let mut other = node.connect("db.bin").await.unwrap();
    other.execute_batch("CREATE TABLE t (n INTEGER)").await.unwrap();
    let slow =
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 20000) SELECT n FROM c";
    for round in 0..20 {
        let mut connection = node.connect("db.bin").await.unwrap();
        while connection.execute_batch("BEGIN IMMEDIATE").await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        connection
            .execute("INSERT INTO t VALUES (?)", &[round.into()])
            .await
            .unwrap();
        let call = connection.query(slow, &[]);
        let patience = std::time::Duration::from_micros(300 * round as u64);
        if tokio::time::timeout(patience, call).await.is_err() {
            assert!(!connection.is_usable());
            assert!(matches!(
                connection.query("SELECT 1", &[]).await,
                Err(Error::Abandoned)
            ));
        }
        drop(connection);
    }
    // The last of them may still be in its answer.
    while let Err(error) = other.execute_batch("BEGIN IMMEDIATE").await {
        assert!(error.is_busy(), "{error:?}");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    assert_eq!(other.query("SELECT n FROM t", &[]).await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_dump_holds_the_database_and_the_cluster_has_one_member() {
    let (_directory, node) = node().await;
    let mut connection = node.connect("db.bin").await.unwrap();
    connection
        .execute_batch("CREATE TABLE t (n INTEGER)")
        .await
        .unwrap();
    let files = connection.dump("db.bin").await.unwrap();
    assert_eq!(
        files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(),
        ["db.bin", "db.bin-wal"]
    );
    assert!(files.iter().map(|file| file.content.len()).sum::<usize>() > 4096);
    assert_eq!(connection.leader().await.unwrap(), Some((1, "1".into())));
    let members = node.greet().await.unwrap().members().await.unwrap();
    assert_eq!(
        members,
        [dqlite::Member {
            id: 1,
            address: "1".into(),
            role: dqlite::Role::Voter
        }]
    );
    assert!(dqlite::library_version().starts_with("1."));
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let error = Node::start(NodeConfig::standalone("/nonexistent/nowhere"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("/nonexistent/nowhere"), "{error}");
}

#[tokio::test]
async fn recovery_gives_the_node_a_new_address() {
    let (directory, node) = node().await;
    let mut connection = node.connect("db.bin").await.unwrap();
    connection
        .execute_batch("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (7)")
        .await
        .unwrap();
    drop(connection);
    node.stop().await.unwrap();
    let mut config = NodeConfig::standalone(directory.path());
    config.address = "127.0.0.1:8443".into();
    let member = dqlite::Member {
        id: 1,
        address: config.address.clone(),
        role: dqlite::Role::Voter,
    };
    Node::recover(config.clone(), vec![member.clone()]).await.unwrap();
    let node = Node::start(config).await.unwrap();
    let mut connection = node.connect("db.bin").await.unwrap();
    assert_eq!(connection.members().await.unwrap(), [member]);
    assert_eq!(connection.query("SELECT n FROM t", &[]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn big_values_and_long_statements_pass() {
    let (_directory, node) = node().await;
    let mut connection = node.connect("db.bin").await.unwrap();
    connection
        .execute_batch("CREATE TABLE t (b BLOB, t TEXT)")
        .await
        .unwrap();
    let values = [Value::Blob(vec![7; 3_000_000]), Value::Text("x".repeat(100_000))];
    connection
        .execute("INSERT INTO t VALUES (?, ?)", &values)
        .await
        .unwrap();
    connection
        .execute("INSERT INTO t VALUES (?, ?)", &values)
        .await
        .unwrap();
    let rows = connection.query("SELECT b, t FROM t", &[]).await.unwrap();
    assert!(rows.len() == 2 && rows.iter().all(|row| row.values() == values));
    let long = format!("SELECT '{}' AS short", "x".repeat(10_000));
    assert_eq!(connection.query(&long, &[]).await.unwrap().len(), 1);
}
