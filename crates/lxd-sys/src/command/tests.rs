//! Real children: streams, descriptors, wishes, limits.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use super::*;

fn sh(script: &str) -> Command {
    Command::new("sh").arg("-c").arg(script)
}

#[tokio::test]
async fn input_goes_in_and_output_comes_out() {
    let big = "x".repeat(1 << 20);
    let output = Command::new("cat").input(big.clone()).output().await.unwrap();
    assert_eq!(output.text(), big);
    let output = sh("echo out; echo err >&2").output().await.unwrap();
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice()),
        (&b"out\n"[..], &b"err\n"[..])
    );
}

#[tokio::test]
async fn a_program_that_reads_nothing_is_no_error() {
    Command::new("true")
        .input("x".repeat(1 << 20))
        .output()
        .await
        .unwrap();
}

#[tokio::test]
async fn failure_names_program_code_and_last_words_but_no_secret() {
    let error = sh("echo first >&2; echo last >&2; exit 3")
        .secret("hunter2")
        .output()
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(3));
    let text = error.to_string();
    assert!(
        text.contains("\"sh -c echo first") && text.ends_with("exit code 3: first\nlast"),
        "{text}"
    );
    assert!(text.contains("***") && !text.contains("hunter2"), "{text}");
    assert!(matches!(
        sh("kill -9 $$").output().await.unwrap_err(),
        Error::Killed { signal: 9, .. }
    ));
    assert_eq!(sh("exit 3").accept(&[3]).output().await.unwrap().code, 3);
}

#[tokio::test]
async fn a_missing_program_is_told_apart() {
    let error = Command::new("no-such-program-here").output().await.unwrap_err();
    assert!(error.is_missing());
    let error = Command::new("true")
        .cwd("/no/such/dir")
        .output()
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Start {
                step: "changing the directory",
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_slow_program_is_killed_with_its_group() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!("sleep 1000 & echo $! > {}/pid; wait", dir.path().display());
    let error = sh(&script)
        .process_group()
        .timeout(Duration::from_millis(300))
        .output()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    let pid: i32 = std::fs::read_to_string(dir.path().join("pid"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    if let Ok(process) = Process::adopt(pid) {
        process.ended().await.unwrap();
    }
}

#[tokio::test]
async fn grandchildren_with_the_pipe_open_are_not_waited_for() {
    let output = sh("sleep 1000 >&2 & echo $!")
        .timeout(Duration::from_secs(60))
        .output()
        .await
        .unwrap();
    Process::adopt(output.text().trim().parse().unwrap())
        .unwrap()
        .kill()
        .unwrap();
}

#[tokio::test]
async fn only_promised_descriptors_are_inherited() {
    let stray = File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&stray, rustix::io::FdFlags::empty()).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    let passed: OwnedFd = file.try_clone().unwrap().into();
    let output = sh("ls /proc/self/fd; echo hello >&7")
        .fd(passed, 7)
        .output()
        .await
        .unwrap();
    let open: Vec<i32> = output.text().lines().map(|l| l.parse().unwrap()).collect();
    assert!(
        open.contains(&7) && !open.contains(&stray.as_raw_fd()),
        "{open:?}"
    );
    let mut text = String::new();
    std::io::Seek::rewind(&mut file).unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello\n");
}

#[tokio::test]
async fn swapped_descriptors_arrive_where_they_should() {
    let (a, b) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    (&a).write_all(b"A").unwrap();
    (&b).write_all(b"B").unwrap();
    let (first, second) = (a.as_raw_fd().min(b.as_raw_fd()), a.as_raw_fd().max(b.as_raw_fd()));
    let (low, high) = if a.as_raw_fd() == first { (a, b) } else { (b, a) };
    let script = format!("cat /proc/self/fd/{first}; cat /proc/self/fd/{second}");
    let output = sh(&script)
        .fd(high.into(), first)
        .fd(low.into(), second)
        .output()
        .await
        .unwrap();
    assert_eq!(output.text(), "BA");
}

#[tokio::test]
async fn wishes_are_granted() {
    let script =
        "umask; pwd; echo $X-$HOME; cut -d' ' -f5,6 /proc/$$/stat; echo $$; grep SigBlk /proc/self/status";
    let output = sh(script)
        .env_clear()
        .env("X", "y")
        .cwd("/proc")
        .umask(0o27)
        .new_session()
        .output()
        .await
        .unwrap();
    let text = output.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..3], ["0027", "/proc", "y-"]);
    assert_eq!(
        lines[3],
        format!("{0} {0}", lines[4]),
        "leads its group and session"
    );
    assert_eq!(lines[5], "SigBlk:\t0000000000000000");
}

#[tokio::test]
async fn signals_start_at_their_defaults() {
    // Rust ignores SIGPIPE in its own process; a child must die of it.
    let output = sh("grep SigIgn /proc/self/status").output().await.unwrap();
    assert_eq!(output.text().trim(), "SigIgn:\t0000000000000000");
}

#[tokio::test]
async fn a_long_lived_child_is_watched_and_reaped() {
    let mut child = sh("read line; exit 5").stdin(Stream::Pipe).spawn().unwrap();
    let adopted = Process::adopt(child.pid()).unwrap();
    assert!(!adopted.has_ended());
    let mut pipe = File::from(child.take_stdin().unwrap());
    pipe.write_all(b"go\n").unwrap();
    adopted.ended().await.unwrap();
    assert_eq!(child.wait().await.unwrap(), Exit::Code(5));
    assert_eq!(child.wait().await.unwrap(), Exit::Code(5));
    assert!(Process::adopt(child.pid()).is_err());
}

#[tokio::test]
async fn a_dropped_child_leaves_no_zombie() {
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = child.pid();
    child.kill_on_drop(true);
    drop(child);
    while std::fs::exists(format!("/proc/{pid}")).unwrap() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_recorder_runs_nothing() {
    let recorder = Recorder::new();
    recorder.answer_text("hi");
    let runner: &dyn Runner = &recorder;
    let output = runner
        .run(Command::new("rm").arg("-rf").secret("k").input("in"))
        .await
        .unwrap();
    assert_eq!(output.text(), "hi");
    assert_eq!(
        recorder.seen(),
        [Recorded {
            line: "rm -rf ***".into(),
            input: "in".into()
        }]
    );
}

#[test]
fn programs_are_found_by_path() {
    assert_eq!(
        find_program(OsStr::new("sh"), OsStr::new("/nonexistent:/bin")),
        Some("/bin/sh".into())
    );
    assert_eq!(find_program(OsStr::new("/bin"), OsStr::new("/")), None);
    assert_eq!(
        find_program(OsStr::new("passwd"), OsStr::new("/etc")),
        None,
        "not executable"
    );
}
