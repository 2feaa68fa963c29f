//! Programs behind a trait, so that callers can be tested without running any.

use std::collections::VecDeque;

use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::{Command, Error, Output};

/// Who runs programs to their end.
pub trait Runner: Send + Sync {
    /// Runs one program; see [`Command::output`].
    fn run(&self, command: Command) -> BoxFuture<'_, Result<Output, Error>>;
}

/// The real one.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Runner for System {
    fn run(&self, command: Command) -> BoxFuture<'_, Result<Output, Error>> {
        Box::pin(command.output())
    }
}

/// What a [`Recorder`] was asked to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Program and arguments, separated by spaces, secrets hidden.
    pub line: String,
    /// What would have gone to standard input.
    pub input: String,
}

/// A twin that runs nothing, writes down what it was asked for, and gives prepared answers.
#[derive(Debug, Default)]
pub struct Recorder {
    seen: Mutex<Vec<Recorded>>,
    answers: Mutex<VecDeque<Result<Output, Error>>>,
}

impl Recorder {
    /// One that answers everything with success and no output.
    pub fn new() -> Self {
        Self::default()
    }

    /// Prepares the answer to the next unanswered run.
    pub fn answer(&self, answer: Result<Output, Error>) {
        self.answers.lock().push_back(answer);
    }

    /// Prepares success with this standard output.
    pub fn answer_text(&self, stdout: &str) {
        self.answer(Ok(Output {
            code: 0,
            stdout: stdout.as_bytes().to_vec(),
            stderr: Vec::new(),
        }));
    }

    /// All that was asked for, in order.
    pub fn seen(&self) -> Vec<Recorded> {
        self.seen.lock().clone()
    }
}

impl Runner for Recorder {
    fn run(&self, command: Command) -> BoxFuture<'_, Result<Output, Error>> {
        let line = format!(
            "{} {}",
            command.program().to_string_lossy(),
            command.rendered_args()
        );
        let input = command
            .input
            .as_deref()
            .map(|b| String::from_utf8_lossy(b).into_owned());
        self.seen.lock().push(Recorded {
            line: line.trim_end().to_owned(),
            input: input.unwrap_or_default(),
        });
        let answer = self.answers.lock().pop_front();
        let answer = answer.unwrap_or(Ok(Output {
            code: 0,
            stdout: Vec::new(),
            stderr: Vec::new(),
        }));
        Box::pin(std::future::ready(answer))
    }
}
