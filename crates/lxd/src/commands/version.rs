//! `lxd version`.

use super::{VERSION, output};
use crate::command_line::Invocation;

/// Prints the version.
///
/// # Errors
/// Never; commands have one shape.
#[expect(clippy::unnecessary_wraps, reason = "commands have one shape")]
pub(crate) fn run(_: &Invocation) -> Result<(), String> {
    output::print(&format!("{VERSION}\n"));
    Ok(())
}
