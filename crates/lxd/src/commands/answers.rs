//! Questions to the user, asked until the answer makes sense.

use std::io::{self, BufRead, Write};

use super::output;

/// A conversation.
pub(crate) struct Answers<R, W> {
    input: R,
    output: W,
}

impl<R: BufRead, W: Write> Answers<R, W> {
    /// A conversation over a terminal or pipes.
    pub(crate) fn new(input: R, output: W) -> Self {
        Self { input, output }
    }

    /// Says something.
    ///
    /// # Errors
    /// Nobody listens.
    pub(crate) fn say(&mut self, text: &str) -> Result<(), String> {
        writeln!(self.output, "{text}").map_err(|error| error.to_string())
    }

    /// Asks for a yes or no.
    ///
    /// # Errors
    /// The input is at its end.
    pub(crate) fn yes(&mut self, question: &str, default: bool) -> Result<bool, String> {
        let shown = if default { "yes" } else { "no" };
        self.text(
            &format!("{question} (yes/no)"),
            Some(shown),
            |answer| match answer.to_lowercase().as_str() {
                "yes" | "y" => Ok(true),
                "no" | "n" => Ok(false),
                _ => Err(String::new()),
            },
        )
    }

    /// Asks for a text that `check` makes something of; what it refuses is asked again.
    ///
    /// # Errors
    /// The input is at its end.
    pub(crate) fn text<T>(
        &mut self,
        question: &str,
        default: Option<&str>,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, String> {
        loop {
            let answer = self.ask(question, default)?;
            match check(&answer) {
                Ok(value) => return Ok(value),
                Err(why) if why.is_empty() => output::complain("Invalid input, try again.\n"),
                Err(why) => output::complain(&format!("Invalid input: {why}\n")),
            }
        }
    }

    fn ask(&mut self, question: &str, default: Option<&str>) -> Result<String, String> {
        let shown = default
            .filter(|text| !text.is_empty())
            .map(|text| format!(" [default={text}]"));
        let broken = |error: io::Error| error.to_string();
        write!(self.output, "{question}{}: ", shown.unwrap_or_default()).map_err(broken)?;
        self.output.flush().map_err(broken)?;
        let mut line = String::new();
        if self.input.read_line(&mut line).map_err(broken)? == 0 {
            return Err("EOF".into());
        }
        let answer = line.trim();
        Ok(if answer.is_empty() {
            default.unwrap_or_default().to_owned()
        } else {
            answer.to_owned()
        })
    }
}

/// Refuses the empty answer.
pub(crate) fn not_empty(answer: &str) -> Result<String, String> {
    if answer.is_empty() {
        Err(String::new())
    } else {
        Ok(answer.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_asked_until_they_are_answered() {
        let mut output = Vec::new();
        let mut answers = Answers::new(&b"maybe\nYES\n\n x \n"[..], &mut output);
        assert!(answers.yes("Really?", false).unwrap());
        assert!(!answers.yes("And this?", false).unwrap());
        assert_eq!(answers.text("Name", Some("default"), not_empty).unwrap(), "x");
        assert_eq!(
            answers.text("Name", Some("default"), not_empty).unwrap_err(),
            "EOF"
        );
        let asked = String::from_utf8(output).unwrap();
        assert_eq!(
            asked,
            "Really? (yes/no) [default=no]: Really? (yes/no) [default=no]: And this? (yes/no) [default=no]: \
             Name [default=default]: Name [default=default]: "
        );
    }
}
