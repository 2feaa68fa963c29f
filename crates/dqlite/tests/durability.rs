//! A process that writes is killed at any moment, again and again; no write that it was told of is ever lost.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use dqlite::{Connection, Node, NodeConfig};

/// Where the process that is killed has its node.
const DIRECTORY: &str = "DQLITE_TEST_DIRECTORY";

/// After how many acknowledged transactions each process is killed: within, on and after snapshots, which come every
/// 64 entries of the log with the parameters of a standalone node.
const KILLED_AFTER: [usize; 5] = [3, 61, 150, 64, 1];

#[tokio::test]
async fn no_acknowledged_write_is_lost_when_the_process_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for killed_after in KILLED_AFTER {
        let mut writer = Writer::start(directory.path());
        acknowledged = writer.acknowledged(killed_after).unwrap_or(acknowledged);
        // What it still managed to say before it died counts as well.
        acknowledged = writer.kill().unwrap_or(acknowledged);

        let node = Node::start(NodeConfig::standalone(directory.path()))
            .await
            .unwrap();
        let mut connection = node.connect("db.bin").await.unwrap();
        let numbers = numbers(&mut connection).await;
        // One more may have been committed without our hearing of it; none may be missing or half there.
        assert!(
            numbers.len() == acknowledged || numbers.len() == acknowledged + 1,
            "{} of {acknowledged}",
            numbers.len()
        );
        assert!(
            numbers
                .iter()
                .enumerate()
                .all(|(index, number)| *number == index as i64 + 1),
            "{numbers:?}"
        );
        let counter = connection.query("SELECT n FROM counter", &[]).await.unwrap();
        assert_eq!(
            counter.first().unwrap().get::<i64>(0).unwrap(),
            numbers.len() as i64
        );
        let check = connection.query_once("PRAGMA integrity_check").await.unwrap();
        assert_eq!(check.first().unwrap().get::<&str>(0).unwrap(), "ok");
        acknowledged = numbers.len();
        drop(connection);
        node.stop().await.unwrap();
    }
    let snapshots = std::fs::read_dir(directory.path()).unwrap();
    let names: Vec<_> = snapshots
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        names.iter().any(|name| name.starts_with("snapshot-")),
        "no snapshot was written: {names:?}"
    );
}

async fn numbers(connection: &mut Connection) -> Vec<i64> {
    let rows = connection.query("SELECT n FROM t ORDER BY n", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}

/// The process that is killed: this very program, running the test `writer`.
struct Writer {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Writer {
    #[expect(
        clippy::disallowed_methods,
        reason = "a process must die here, and this crate has no other way to make one"
    )]
    fn start(directory: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--ignored", "--nocapture"])
            .env(DIRECTORY, directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// Waits for `count` acknowledgements and gives the last.
    fn acknowledged(&mut self, count: usize) -> Option<usize> {
        let numbers = self
            .lines
            .by_ref()
            .map_while(Result::ok)
            .filter_map(|line| acknowledgement(&line));
        numbers.take(count).last()
    }

    /// Kills it, and gives the last acknowledgement that was still under way.
    fn kill(mut self) -> Option<usize> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.acknowledged(usize::MAX)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn acknowledgement(line: &str) -> Option<usize> {
    line.strip_prefix("committed ")?.parse().ok()
}

#[tokio::test]
#[ignore = "writes until it is killed; the other test runs it as a process of its own"]
async fn writer() {
    let directory = std::env::var(DIRECTORY).unwrap();
    let node = Node::start(NodeConfig::standalone(directory)).await.unwrap();
    let mut connection = node.connect("db.bin").await.unwrap();
    let tables = "CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, filler TEXT);
        CREATE TABLE IF NOT EXISTS counter (n INTEGER); INSERT INTO counter SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM counter)";
    connection.execute_batch(tables).await.unwrap();
    loop {
        connection.execute_batch("BEGIN IMMEDIATE").await.unwrap();
        connection
            .execute("UPDATE counter SET n = n + 1", &[])
            .await
            .unwrap();
        connection
            .execute("INSERT INTO t (filler) VALUES (?)", &["x".repeat(3000).into()])
            .await
            .unwrap();
        connection.execute_batch("COMMIT").await.unwrap();
        let rows = connection.query("SELECT n FROM counter", &[]).await.unwrap();
        let number: i64 = rows.first().unwrap().get(0).unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "committed {number}")
            .and_then(|()| out.flush())
            .unwrap();
    }
}
