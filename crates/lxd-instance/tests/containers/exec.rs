//! Programs inside: pipes, terminals, files, codes, signals; the console.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use lxd_instance::Stop;
use lxd_instance::exec::{Ends, Streams};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{World, request, run, shell};

#[tokio::test]
async fn codes_streams_environment_and_users() {
    let world = World::new().await;
    let (instances, _events) = world.daemon();
    let mut instance = world.instance("e").await;
    instance.config.insert("environment.OWN".into(), "1".into());
    let key = instance.key.clone();
    instances.start(instance).await.unwrap();

    for (script, code) in [("exit 42", 42), ("kill -9 $$", 137), ("exit 0", 0)] {
        assert_eq!(shell(&instances, &key, script).await.0, code, "{script}");
    }
    assert_eq!(run(&instances, request(&["/no/such"]), &key, b"").await.0, 127);
    assert_eq!(run(&instances, request(&["/etc/passwd"]), &key, b"").await.0, 126);
    let (_, out, err) = shell(&instances, &key, "echo out; echo err >&2").await;
    assert_eq!((out.as_str(), err.as_str()), ("out\n", "err\n"));
    let (_, out, err) = shell(&instances, &key, "yes | head -n 1").await;
    assert_eq!(
        (out.as_str(), err.as_str()),
        ("y\n", ""),
        "whom nobody reads ends"
    );
    let input = vec![b'x'; 8 << 20];
    let (code, out, _) = run(&instances, request(&["wc", "-c"]), &key, &input).await;
    assert_eq!((code, out.trim()), (0, "8388608"));

    let mut asked = request(&["env"]);
    asked.environment = BTreeMap::from([("A".into(), "b=c\nd".into()), ("LANG".into(), "x".into())]);
    let (_, out, _) = run(&instances, asked, &key, b"").await;
    for line in [
        "A=b=c\nd\n",
        "OWN=1\n",
        "HOME=/root\n",
        "USER=root\n",
        "LANG=x\n",
        "container=lxc\n",
    ] {
        assert!(out.contains(line), "{line:?} in {out:?}");
    }
    let mut asked = request(&["/bin/sh", "-c", "id -u; id -g; pwd; echo ${HOME-none}"]);
    (asked.uid, asked.gid, asked.cwd) = (1000, 7, "/tmp".into());
    assert_eq!(run(&instances, asked, &key, b"").await.1, "1000\n7\n/tmp\nnone\n");
    let mut asked = request(&["pwd"]);
    asked.cwd = String::new();
    assert_eq!(run(&instances, asked, &key, b"").await.1, "/root\n");
    let (_, out, _) = shell(
        &instances,
        &key,
        "ls /proc/self/fd | wc -l; cat /proc/self/status | grep -E 'Seccomp:'",
    )
    .await;
    assert_eq!(
        out.split_whitespace().collect::<Vec<_>>(),
        ["4", "Seccomp:", "2"],
        "no descriptor leaks in"
    );
    instances.stop(&key, Stop::kill()).await.unwrap();
}

#[tokio::test]
async fn programs_begin_in_the_groups_of_the_container_once_told_and_up_to_the_limit_of_processes() {
    const LIMIT: u64 = 8;
    let world = World::new().await;
    let (instances, _events) = world.daemon();
    let mut instance = world.instance("g").await;
    instance
        .config
        .insert("limits.processes".into(), LIMIT.to_string());
    let key = instance.key.clone();
    instances.start(instance).await.unwrap();

    let (_, groups, _) = shell(&instances, &key, "cat /proc/self/cgroup").await;
    assert!(!groups.is_empty());
    for line in groups.lines() {
        assert!(line.ends_with(":/") || line.ends_with(":/.lxc"), "{line}");
    }

    let held = instances
        .exec(&key, request(&["touch", "/root/held"]))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(shell(&instances, &key, "test -e /root/held").await.0, 1);
    drop(held);
    let held = instances
        .exec(&key, request(&["touch", "/root/begun"]))
        .await
        .unwrap();
    assert_eq!(held.begin().await.exit.wait().await.unwrap(), 0);
    assert_eq!(
        shell(&instances, &key, "test -e /root/begun && ! test -e /root/held")
            .await
            .0,
        0
    );

    // A program needs room for two; one that is begun from inside, for three.
    let group = lxd_sys::cgroup::Cgroups::detect().unwrap();
    let group = group.group(&format!("/lxc.payload.{}", key.prefixed()));
    let used = group.usage().processes.unwrap();
    let mut sleepers = Vec::new();
    for _ in used..LIMIT - 2 {
        let held = instances.exec(&key, request(&["sleep", "1000"])).await.unwrap();
        sleepers.push(held.begin().await);
    }
    let last = instances.exec(&key, request(&["sleep", "1000"])).await.unwrap();
    sleepers.push(last.begin().await);
    assert_eq!(group.usage().processes, Some(LIMIT - 1));
    instances.exec(&key, request(&["true"])).await.unwrap_err();
    instances.stop(&key, Stop::kill()).await.unwrap();
}

#[tokio::test]
async fn a_terminal_with_size_signals_and_job_control() {
    let world = World::new().await;
    let (instances, _events) = world.daemon();
    let instance = world.instance("t").await;
    let key = instance.key.clone();
    instances.start(instance).await.unwrap();
    let mut asked = request(&[
        "/bin/sh",
        "-c",
        "tty; stty size; stat -c %u $(tty); read x; stty size; echo $x; exit 7",
    ]);
    asked.streams = Streams::Terminal {
        width: 99,
        height: 33,
    };
    let exec = instances.exec(&key, asked).await.unwrap().begin().await;
    let Ends::Terminal(mut terminal) = exec.ends else {
        panic!("a terminal")
    };
    let mut shown = String::new();
    let mut buffer = [0; 1024];
    while !shown.contains("\r\n0\r\n") {
        let count = terminal.read(&mut buffer).await.unwrap();
        assert!(count > 0, "{shown:?}");
        shown += &String::from_utf8_lossy(&buffer[..count]);
    }
    assert!(
        shown.contains("/dev/pts/") && shown.contains("33 99"),
        "{shown:?}"
    );
    exec.control.resize(120, 40).unwrap();
    terminal.write_all(b"hello\n").await.unwrap();
    let mut rest = String::new();
    terminal.read_to_string(&mut rest).await.unwrap();
    assert!(
        rest.contains("40 120\r\n") && rest.ends_with("hello\r\n"),
        "{rest:?}"
    );
    assert_eq!(exec.exit.wait().await.unwrap(), 7);

    let mut asked = request(&["sleep", "1000"]);
    asked.streams = Streams::Terminal { width: 0, height: 0 };
    let exec = instances.exec(&key, asked).await.unwrap().begin().await;
    let Ends::Terminal(mut terminal) = exec.ends else {
        panic!("a terminal")
    };
    // The terminal is the program's own, so that its interrupt key reaches it. The program sets itself up a little after it has begun to run.
    let exit = tokio::spawn(exec.exit.wait());
    while !exit.is_finished() {
        terminal.write_all(&[3]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(exit.await.unwrap().unwrap(), 130);

    let mut asked = request(&["sleep", "1000"]);
    asked.streams = Streams::Null;
    let exec = instances.exec(&key, asked).await.unwrap().begin().await;
    assert!(exec.control.signal(4711).is_err());
    exec.control.signal(15).unwrap();
    assert_eq!(exec.exit.wait().await.unwrap(), 143);
    exec.control.signal(15).unwrap();
    instances.stop(&key, Stop::kill()).await.unwrap();
}

#[tokio::test]
async fn recorded_output_and_the_console() {
    let world = World::new().await;
    let (instances, _events) = world.daemon();
    let instance = world.instance("o").await;
    let key = instance.key.clone();
    instances.start(instance).await.unwrap();
    let (mut out, mut err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let mut asked = request(&["/bin/sh", "-c", "cat; echo out; echo err >&2; exit 3"]);
    asked.streams = Streams::Files {
        stdout: out.try_clone().unwrap(),
        stderr: err.try_clone().unwrap(),
    };
    let exec = instances.exec(&key, asked).await.unwrap().begin().await;
    assert!(matches!(exec.ends, Ends::None));
    assert_eq!(exec.exit.wait().await.unwrap(), 3);
    let mut text = String::new();
    use std::io::Seek;
    out.rewind().unwrap();
    err.rewind().unwrap();
    out.read_to_string(&mut text).unwrap();
    err.read_to_string(&mut text).unwrap();
    assert_eq!(text, "out\nerr\n");

    let mut console = instances.console(&key).await.unwrap();
    console.resize(100, 30).unwrap();
    shell(&instances, &key, "echo greetings > /dev/console").await;
    let mut buffer = [0; 256];
    let mut shown = String::new();
    while !shown.contains("greetings") {
        let count = tokio::time::timeout(Duration::from_secs(10), console.terminal.read(&mut buffer)).await;
        let count = count.expect("the console shows it").unwrap();
        shown += &String::from_utf8_lossy(&buffer[..count]);
    }
    drop(console);
    assert!(String::from_utf8_lossy(&instances.console_log(&key, true).await.unwrap()).contains("greetings"));
    assert!(instances.console_log(&key, false).await.unwrap().is_empty());
    instances.stop(&key, Stop::kill()).await.unwrap();
    assert_eq!(
        instances.console(&key).await.unwrap_err().to_string(),
        "Instance is not running"
    );
}
