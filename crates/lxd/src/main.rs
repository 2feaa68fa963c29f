//! The LXD daemon: listeners, authentication, router, handlers, sub-commands.

mod api;
mod command_line;
mod commands;
mod daemon;
mod http;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    match command_line::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("Error: {message}");
            ExitCode::FAILURE
        }
    }
}
