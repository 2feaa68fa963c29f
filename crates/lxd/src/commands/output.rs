//! Printing of what commands have to say.

use std::io::Write as _;

/// Prints text; whoever reads may have heard enough, as in `lxd sql global .dump | head`.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        tracing::debug!("nobody reads what is printed");
    }
}

/// Prints a line for people, apart from what programs may read.
pub(crate) fn complain(text: &str) {
    if writeln!(std::io::stderr(), "{text}").is_err() {
        tracing::debug!("nobody reads complaints");
    }
}
