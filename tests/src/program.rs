//! Programs run to their end, with what they said.

use std::io::Write;
use std::process::{Command, Stdio};

/// What a program did.
#[derive(Debug)]
pub struct Done {
    /// The command line, for messages.
    pub line: String,
    /// Exit code; -1 after a signal.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Done {
    /// The output, when the program succeeded; the test ends otherwise.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(
            self.code, 0,
            "{}: exit {}\n{}{}",
            self.line, self.code, self.out, self.err
        );
        self.out
    }

    /// Standard error, when the program failed; the test ends otherwise.
    #[track_caller]
    pub fn failed(self) -> String {
        assert_ne!(
            self.code, 0,
            "{}: did not fail\n{}{}",
            self.line, self.out, self.err
        );
        self.err
    }
}

/// Runs a command to its end, with text on its standard input.
#[track_caller]
pub fn run(command: &mut Command, input: &str) -> Done {
    let line = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|why| panic!("{line}: {why}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let done = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Done {
        line,
        code: done.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&done.stdout).into_owned(),
        err: String::from_utf8_lossy(&done.stderr).into_owned(),
    }
}

/// Runs a program with arguments and no input.
#[track_caller]
pub fn sh(program: &str, args: &[&str]) -> Done {
    run(Command::new(program).args(args), "")
}

/// Waits until something is true, 30 seconds at most; `LXD_E2E_PATIENCE` is another number of seconds, for slow machines.
#[track_caller]
pub fn patiently(what: &str, mut is_so: impl FnMut() -> bool) {
    let given = std::env::var("LXD_E2E_PATIENCE").ok();
    let seconds = given.and_then(|text| text.parse().ok()).unwrap_or(30);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    while !is_so() {
        assert!(std::time::Instant::now() < end, "{what}: not within {seconds} s");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
