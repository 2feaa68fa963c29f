//! The node database on a real file.

use jiff::Timestamp;
use serde_json::json;

use super::journal::{Entry, Keep, State};
use super::*;

async fn node() -> (tempfile::TempDir, Node) {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::open(directory.path()).await.unwrap();
    (directory, node)
}

fn entry(id: &str) -> Entry {
    let created_at: Timestamp = "2026-11-24T03:23:46.139090462Z".parse().unwrap();
    Entry {
        id: id.to_owned(),
        kind: "instance-create".to_owned(),
        project: "default".to_owned(),
        description: "Creating instance".to_owned(),
        state: State::Running,
        step: 0,
        steps: vec!["row".to_owned(), "volume".to_owned()],
        params: json!({"name": "c1"}),
        resources: json!({"instances": ["/1.0/instances/c1"]}),
        metadata: json!(null),
        result: json!({}),
        error: None,
        error_kind: None,
        created_at,
        updated_at: created_at,
    }
}

#[tokio::test]
async fn an_operation_goes_through_the_journal() {
    let (directory, node) = node().await;
    node.insert_journal(&entry("a"), Keep::Disk).await.unwrap();
    node.insert_journal(&entry("b"), Keep::Boot).await.unwrap();
    assert_eq!(node.journal("a").await.unwrap(), entry("a"));
    node.advance_journal("a", State::Running, (1, &json!({"volume": 7})), Keep::Boot)
        .await
        .unwrap();
    node.update_journal_metadata("a", &json!({"progress": "50%"}))
        .await
        .unwrap();
    node.finish_journal(
        "b",
        State::Failed,
        &json!(null),
        Some(("no room".into(), "internal".into())),
        Keep::Boot,
    )
    .await
    .unwrap();
    drop(node);

    let node = Node::open(directory.path()).await.unwrap();
    let unfinished = node.unfinished_journal().await.unwrap();
    assert_eq!(unfinished.len(), 1);
    assert_eq!(
        (unfinished[0].step, &unfinished[0].result),
        (1, &json!({"volume": 7}))
    );
    assert_eq!(unfinished[0].metadata, json!({"progress": "50%"}));
    let failed = node.journal("b").await.unwrap();
    assert_eq!(
        (failed.state, failed.error.as_deref()),
        (State::Failed, Some("no room"))
    );
    assert_eq!(node.expire_journal(Timestamp::now()).await.unwrap(), 1);
    assert_eq!(
        node.journal("b").await.unwrap_err().to_string(),
        "Operation not found"
    );
    assert!(
        node.advance_journal("nope", State::Running, (1, &json!({})), Keep::Disk)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn config_patches_and_members_are_kept() {
    let (_directory, node) = node().await;
    let config = [("core.https_address", "[::]:8443"), ("core.debug_address", "")];
    let config = config
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    node.replace_config(&config).await.unwrap();
    assert_eq!(
        node.config().await.unwrap().into_iter().collect::<Vec<_>>(),
        [("core.https_address".into(), "[::]:8443".into())]
    );
    assert!(
        node.patches()
            .await
            .unwrap()
            .contains("dnsmasq_entries_include_device_name")
    );
    node.add_patch("ours").await.unwrap();
    node.add_patch("ours").await.unwrap();
    assert_eq!(node.patches().await.unwrap().len(), 17);
    let member = RaftNode {
        id: 1,
        address: "10.0.0.1:8443".into(),
        role: 0,
        name: "n1".into(),
    };
    node.replace_raft_nodes(vec![member.clone()]).await.unwrap();
    assert_eq!(node.raft_nodes().await.unwrap(), [member]);
}

#[tokio::test]
async fn sql_of_users_runs_on_the_file() {
    let (_directory, node) = node().await;
    let outcomes = node
        .run_sql("insert into config (key, value) values ('a', 'b;c'); select key, value, NULL from config")
        .await
        .unwrap();
    let expected = [
        Outcome::Executed { rows_affected: 1 },
        Outcome::Selected {
            columns: vec!["key".into(), "value".into(), "NULL".into()],
            rows: vec![vec![json!("a"), json!("b;c"), json!(null)]],
        },
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(
        node.run_sql("select nope from config")
            .await
            .unwrap_err()
            .to_string(),
        "no such column: nope"
    );
    let applied = node
        .run_sql("select applied_at from patches limit 1")
        .await
        .unwrap();
    let Outcome::Selected { rows, .. } = &applied[0] else {
        panic!("{applied:?}")
    };
    assert!(rows[0][0].as_str().unwrap().ends_with('Z'), "{rows:?}");
}

#[tokio::test]
async fn a_newer_database_is_refused_with_both_versions() {
    let (directory, node) = node().await;
    node.run_sql("insert into schema (version, updated_at) values (99, '')")
        .await
        .unwrap();
    drop(node);
    let error = Node::open(directory.path()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the node database has schema version 99, which is newer than 42, the newest this version knows"
    );
}

#[tokio::test]
async fn a_patch_file_runs_once_and_a_bad_one_changes_nothing() {
    let (directory, node) = node().await;
    drop(node);
    let path = directory.path().join("patch.local.sql");
    std::fs::write(&path, "INSERT INTO config (key, value) VALUES ('x', 'y');").unwrap();
    let node = Node::open(directory.path()).await.unwrap();
    assert_eq!(node.config().await.unwrap().len(), 1);
    assert!(!path.exists());
    drop(node);
    std::fs::write(&path, "DELETE FROM config; INSERT INTO nope VALUES (1);").unwrap();
    assert!(matches!(
        Node::open(directory.path()).await,
        Err(Error::Patch { .. })
    ));
    assert!(path.exists() && directory.path().join("local.db.bak").exists());
    std::fs::remove_file(&path).unwrap();
    assert_eq!(
        Node::open(directory.path())
            .await
            .unwrap()
            .config()
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn the_schema_is_the_reference_s() {
    let (_directory, node) = node().await;
    let dump = node.dump(true).await.unwrap();
    assert!(
        dump.contains("INSERT INTO patches VALUES(16,'pool_fix_default_permissions',"),
        "{dump}"
    );
    let ours = node.dump(false).await.unwrap();
    let expected = include_str!("schema.sql");
    let tables = |text: &str| text.matches("CREATE ").count();
    assert_eq!(tables(&ours), tables(expected) + 2);
    for statement in crate::sql::split(expected) {
        let statement = statement.replace("CREATE TABLE \"", "CREATE TABLE IF NOT EXISTS \"");
        assert!(ours.contains(&statement), "{statement}");
    }
}
