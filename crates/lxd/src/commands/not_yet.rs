//! Commands of the tree that can't do their work yet, and say so.

use super::output;
use crate::command_line::Invocation;

/// Says that the command is not there yet.
///
/// # Errors
/// Always.
pub(crate) fn run(invocation: &Invocation) -> Result<(), String> {
    Err(format!(
        "\"{}\" is not available in this version yet",
        invocation.name()
    ))
}

/// Prints the help of a command that only has commands below it.
///
/// # Errors
/// A word that is none of them.
pub(crate) fn help(invocation: &Invocation) -> Result<(), String> {
    output::print(&invocation.help());
    Ok(())
}

/// Says which command took this one's place.
///
/// # Errors
/// Always.
pub(crate) fn import(_: &Invocation) -> Result<(), String> {
    Err("Command has been replaced with \"lxd recover\"".into())
}
