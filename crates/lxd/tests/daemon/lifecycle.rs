//! Start, stop, and everything that keeps a daemon from starting.

use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Daemon, lxd, run, text};

#[test]
fn it_starts_on_nothing_and_on_what_it_left() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("lxd");
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT, Signal::POWER] {
        let mut daemon = Daemon::start_in(&dir);
        let mode = std::fs::metadata(daemon.socket()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o660);
        let pid = std::fs::read_to_string(dir.join("lxd.pid")).unwrap();
        assert_eq!(pid.trim(), daemon.pid().to_string());
        assert_eq!(
            daemon.get("/1.0").metadata()["environment"]["server_pid"],
            daemon.pid()
        );
        assert!(daemon.end_by(signal), "{signal:?} is a clean end");
        assert!(!daemon.socket().exists() && !dir.join("lxd.pid").exists());
    }
}

#[test]
fn what_was_written_outlives_a_kill() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("lxd");
    let mut daemon = Daemon::start_in(&dir);
    assert_eq!(
        daemon
            .send("POST", "/1.0/profiles", &json!({"name": "kept"}))
            .status,
        201
    );
    assert!(!daemon.end_by(Signal::KILL));
    let daemon = Daemon::start_in(&dir);
    assert_eq!(daemon.get("/1.0/profiles/kept").status, 200);
}

#[test]
fn a_directory_has_one_daemon() {
    let daemon = Daemon::start();
    let second = run(daemon.dir(), &[]);
    assert!(!second.status.success());
    assert!(
        text(&second.stderr).ends_with("Error: LXD is already running\n"),
        "{}",
        text(&second.stderr)
    );
    assert_eq!(daemon.get("/1.0").status, 200);
}

#[test]
fn what_can_not_be_written_is_refused() {
    let second = run(std::path::Path::new("/proc/nothing"), &[]);
    assert_eq!(second.status.code(), Some(1));
    let wanted =
        "Error: Failed to init dir \"/proc/nothing\": mkdir /proc/nothing: no such file or directory\n";
    assert!(text(&second.stderr).ends_with(wanted), "{}", text(&second.stderr));
}

#[test]
fn a_newer_database_is_refused() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("lxd");
    let mut daemon = Daemon::start_in(&dir);
    for database in ["local", "global"] {
        let newer = "INSERT INTO schema (version, updated_at) VALUES (9999, 0)";
        let done = run(&dir, &["sql", database, newer]);
        assert_eq!(text(&done.stdout), "Rows affected: 1\n", "{}", text(&done.stderr));
        daemon.end_by(Signal::TERM);
        let refused = run(&dir, &[]);
        assert_eq!(refused.status.code(), Some(1), "{database}");
        assert!(
            text(&refused.stderr).contains("9999"),
            "{}",
            text(&refused.stderr)
        );
        // The next round is about the other database.
        std::fs::remove_dir_all(&dir).unwrap();
        daemon = Daemon::start_in(&dir);
    }
}

#[test]
fn an_unknown_group_is_refused() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("lxd");
    let refused = run(&dir, &["--group", "no-such-group"]);
    let wanted =
        "Error: local endpoint: cannot get group ID of 'no-such-group': group: unknown group no-such-group\n";
    assert!(
        text(&refused.stderr).ends_with(wanted),
        "{}",
        text(&refused.stderr)
    );
    assert!(!dir.join("lxd.pid").exists());
}

#[test]
fn shutdown_ends_the_daemon_before_it_returns() {
    let mut daemon = Daemon::start();
    let pid = daemon.pid();
    let mut command = lxd(daemon.dir(), &["shutdown", "--timeout", "60"]);
    // The daemon is this process's child: somebody has to reap it for its end to be seen.
    let mut stopping = command.spawn().unwrap();
    assert!(daemon.wait());
    assert!(stopping.wait().unwrap().success());
    assert!(!std::path::Path::new(&format!("/proc/{pid}/exe")).exists());
    assert!(!daemon.socket().exists());
    let again = run(daemon.dir(), &["shutdown"]);
    let wanted = format!(
        "Error: Put \"http://unix.socket/internal/shutdown?force=false\": dial unix {}: connect: no such file or \
         directory\n",
        daemon.socket().display()
    );
    assert_eq!(text(&again.stderr), wanted);
}

#[test]
fn nobody_answers_where_no_daemon_is() {
    let own = tempfile::tempdir().unwrap();
    let waited = run(own.path(), &["waitready", "--timeout", "1"]);
    assert_eq!(waited.status.code(), Some(1));
    let said = text(&waited.stderr);
    assert!(
        said.starts_with("Error: LXD still not running after 1s timeout (Get \"http://unix.socket/"),
        "{said}"
    );
    let idle = run(own.path(), &["activateifneeded", "--debug"]);
    assert!(idle.status.success() && !text(&idle.stderr).contains("activating..."));
    assert_eq!(
        text(&run(own.path(), &["", "version"]).stdout),
        concat!(env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn the_daemon_is_started_when_there_is_something_to_do() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("lxd");
    let mut daemon = Daemon::start_in(&dir);
    let running = run(&dir, &["activateifneeded", "--debug"]);
    assert!(running.status.success() && !text(&running.stderr).contains("activating..."));
    let ask = |daemon: &mut Daemon| {
        assert!(daemon.end_by(Signal::TERM));
        let asked = run(&dir, &["activateifneeded", "--debug"]);
        assert!(!dir.join("lxd.pid").exists());
        *daemon = Daemon::start_in(&dir);
        text(&asked.stderr)
    };
    assert!(!ask(&mut daemon).contains("activating..."));
    let sql = |query: &str| {
        let done = run(&dir, &["sql", "global", query]);
        assert!(done.status.success(), "{}", text(&done.stderr));
    };
    sql(
        "INSERT INTO instances (id, node_id, name, architecture, type, project_id, description) VALUES (1, 1, 'c1', 2, 0, 1, '')",
    );
    sql("INSERT INTO instances_profiles (instance_id, profile_id) VALUES (1, 1)");
    sql("INSERT INTO profiles_config (profile_id, key, value) VALUES (1, 'snapshots.schedule', '@daily')");
    assert!(ask(&mut daemon).contains("Daemon has scheduled instance snapshots, activating..."));
    sql("INSERT INTO profiles_config (profile_id, key, value) VALUES (1, 'boot.autostart', 'true')");
    assert!(ask(&mut daemon).contains("Daemon has auto-started instances, activating..."));
    sql("INSERT INTO instances_config (instance_id, key, value) VALUES (1, 'boot.autostart', 'false')");
    assert!(!ask(&mut daemon).contains("auto-started"));
    let address = serde_json::json!({"config": {"core.https_address": "127.0.0.1:0"}});
    assert_eq!(daemon.send("PATCH", "/1.0", &address).status, 200);
    assert!(ask(&mut daemon).contains("Daemon has core.https_address set, activating..."));
}

#[test]
fn sql_prints_what_the_reference_prints() {
    let daemon = Daemon::start();
    let sql = |database: &str, query: &str| {
        let done = run(daemon.dir(), &["sql", database, query]);
        (text(&done.stdout), text(&done.stderr), done.status.code())
    };
    let table = "+----+-------------+\n| id |    name     |\n+----+-------------+\n| 1  | None <nil>. |\n+----+-------------+\n";
    assert_eq!(sql("local", "SELECT 1 AS id, 'None <nil>.' AS name").0, table);
    let insert = "INSERT INTO config (key, value) VALUES ('user.x', 'y')";
    assert_eq!(sql("global", insert).0, "Rows affected: 1\n");
    assert_eq!(sql("local", "").1, "Error: No query provided\n");
    assert_eq!(
        sql("local", "selec"),
        (
            String::new(),
            "Error: Failed to exec query: near \"selec\": syntax error\n".into(),
            Some(1)
        )
    );
    assert!(
        sql("foo", "SELECT 1")
            .1
            .ends_with("Error: Invalid database type\n")
    );
    assert!(
        sql("global", ".dump")
            .0
            .contains("INSERT INTO config VALUES(1,'user.x','y')")
    );
    let schema = sql("global", ".schema").0;
    assert!(
        schema.contains("CREATE TRIGGER") && !schema.contains("INSERT INTO"),
        "{schema}"
    );
    assert_eq!(sql("global", ".sync"), (String::new(), String::new(), Some(0)));
    assert!(daemon.dir().join("database/global/db.bin").exists());
}
