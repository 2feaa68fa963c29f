//! The line that shows how far something has come.

use std::io::{IsTerminal, Write};

use lxd_api::operations::Operation;
use serde_json::Value;

/// A line on a terminal that is written over and over; nothing at all elsewhere.
#[derive(Debug)]
pub(crate) struct Progress {
    shown: bool,
    title: String,
    last: String,
    width: usize,
}

impl Progress {
    /// A line that has not begun; `title` goes before each text.
    pub(crate) fn new(quiet: bool, title: &str) -> Self {
        let shown = !quiet && std::io::stdout().is_terminal();
        Self {
            shown,
            title: title.into(),
            last: String::new(),
            width: 0,
        }
    }

    /// Whether anybody sees it.
    pub(crate) fn is_shown(&self) -> bool {
        self.shown
    }

    /// Shows a text in place of the one before.
    pub(crate) fn update(&mut self, text: &str) {
        if !self.shown || text == self.last {
            return;
        }
        self.last = text.to_string();
        let line = format!("{}{text}", self.title);
        self.width = self.width.max(line.chars().count());
        self.put(&format!("\r{line:width$}", width = self.width));
    }

    /// Shows what an operation says about its progress.
    pub(crate) fn operation(&mut self, operation: &Operation) {
        if let Some(text) = progress_text(operation) {
            self.update(text);
        }
    }

    /// Takes the line away, and leaves a text in its place unless it is empty.
    pub(crate) fn done(&mut self, text: &str) {
        if self.shown && self.width > 0 {
            self.put(&format!("\r{:width$}\r", "", width = self.width));
            self.width = 0;
        }
        if !text.is_empty() {
            self.put(&format!("{text}\n"));
        }
    }

    fn put(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        // Progress is a nicety: what matters fails elsewhere when the terminal is gone.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

/// The text among an operation's metadata that says how far it has come.
pub(crate) fn progress_text(operation: &Operation) -> Option<&str> {
    let metadata = operation.metadata.as_object()?;
    metadata
        .iter()
        .find(|(key, _)| key.ends_with("_progress"))
        .and_then(|(_, value)| match value {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_found_by_its_ending() {
        let metadata = serde_json::json!({"progress": {"percent": "7"}, "unpack_progress": "Unpack: 7%"});
        let operation = Operation {
            metadata,
            ..Operation::default()
        };
        assert_eq!(progress_text(&operation), Some("Unpack: 7%"));
        assert_eq!(progress_text(&Operation::default()), None);
    }
}
