//! The LXD daemon: listeners, authentication, router, handlers, sub-commands.

mod api;
mod command_line;
mod commands;
mod daemon;
mod devlxd;
mod http;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    // The daemon runs this for requests about files, and waits for it.
    let done = match arguments.as_slice() {
        [_, command] if command == "forkfile" => lxd_files::serve(),
        _ => command_line::run(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            commands::output::complain(&format!("Error: {message}"));
            ExitCode::FAILURE
        }
    }
}
