//! What can go wrong with another program.

use std::io;
use std::time::Duration;

/// A program that could not be run, or that failed. The text names it and its arguments, never its secrets.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such program in `PATH`.
    #[error("The program {program:?} is not installed")]
    NotFound {
        /// The name that was looked up.
        program: String,
    },
    /// The process could not be made.
    #[error("Failed to start \"{program} {args}\" ({step})")]
    Start {
        /// The program.
        program: String,
        /// Its arguments, secrets hidden.
        args: String,
        /// What was being done.
        step: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// It ended with an exit code that is not accepted.
    #[error("\"{program} {args}\" failed with exit code {code}{}", after_colon(.stderr))]
    Failed {
        /// The program.
        program: String,
        /// Its arguments, secrets hidden.
        args: String,
        /// The exit code.
        code: i32,
        /// The last lines of its standard error.
        stderr: String,
    },
    /// It was ended by a signal.
    #[error("\"{program} {args}\" was killed by signal {signal}{}", after_colon(.stderr))]
    Killed {
        /// The program.
        program: String,
        /// Its arguments, secrets hidden.
        args: String,
        /// The signal's number.
        signal: i32,
        /// The last lines of its standard error.
        stderr: String,
    },
    /// It took longer than allowed and was killed.
    #[error("\"{program} {args}\" did not end within {} seconds", after.as_secs_f32())]
    TimedOut {
        /// The program.
        program: String,
        /// Its arguments, secrets hidden.
        args: String,
        /// The limit.
        after: Duration,
    },
    /// Talking to it failed.
    #[error("Failed to exchange data with \"{program} {args}\"")]
    Exchange {
        /// The program.
        program: String,
        /// Its arguments, secrets hidden.
        args: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// The exit code, when the program ran and failed with one.
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Failed { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// The last lines of standard error, when the program ran and failed.
    pub fn stderr(&self) -> &str {
        match self {
            Self::Failed { stderr, .. } | Self::Killed { stderr, .. } => stderr,
            _ => "",
        }
    }

    /// Whether the program is not installed.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

fn after_colon(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    }
}
