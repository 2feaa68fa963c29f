//! The LXD client: one file per command, rendering, remotes.
//!
//! # How to add a command
//!
//! 1. Its name, arguments, flags and help stand in a table below `tree/`; parsing, `--help` and the check of how many
//!    arguments there are come from there.
//! 2. Its code is a function `async fn name(cx: &Context) -> Result<()>` in the file of its noun below `commands/`
//!    (`&mut Context` where it changes the client's configuration), called from that file's
//!    `run(cx, path)`, which `commands/mod.rs` calls.
//!
//! What a command has at hand:
//!
//! * [`context::Context`]: `arguments()`, `argument(0)`, `text("format")` (the default included), `switch("force")`,
//!   `list("config")`, `number("timeout")`, `given("timeout")`, `is_quiet()`;
//!   `resource("remote:name")` and `named("remote:name", "pool")` give a [`context::Resource`] with `client`, `remote`
//!   and `name`; `resource_or_default(0)` takes an argument that may be missing; `wait(&background, "Title: ")` waits for an operation with
//!   progress and Ctrl-C. `context::{stdin_is_terminal, read_stdin, ask}`.
//! * `lxd_client::Client`: `get`, `get_with_etag`, `create`, `create_and_get`, `replace`, `patch`, `remove` for answers that come at
//!   once; `start`, `update`, `delete`, `upload` for operations; `download`, `export_image`, `websocket`, `raw`;
//!   paths by `lxd_client::path(&["storage-pools", name])`, with `?recursion=1` put after it.
//! * [`render`]: `list(format, &List { header, rows, raw })`, `sort_rows`, `natural`, `print_yaml`, `print_line`, `print`, `json`,
//!   `pretty_json`, `bytes_decimal`, `bytes_binary`, `date`.
//! * [`edit::edit`]: the user's editor until the text is accepted.
//! * [`key_values`]: `pairs(words)` for `key=value...`, with the old `key value` form, and `-` for standard input.
//! * [`error::Error`]: `Error::message("...")` for what the command itself finds wrong.

mod aliases;
mod arguments;
mod commands;
mod config;
mod context;
mod edit;
mod error;
mod help;
mod image_server;
mod key_values;
mod progress;
mod render;
mod tree;

use std::path::PathBuf;
use std::process::ExitCode;

use arguments::Parsed;
use config::Config;
use context::Context;
use error::{Error, Result};
use help::Extent;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    match run(&words) {
        Ok(()) | Err(Error::Help) => ExitCode::SUCCESS,
        Err(Error::Exit(code)) => ExitCode::from(code),
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<()> {
    if words == ["generate-cli-reference"] {
        return render::print(&help::reference());
    }
    let (config, fresh) = Config::load(&config_folder())?;
    let words = without_old_prefix(aliases::expand(config.aliases(), words)?);
    let parsed = arguments::parse(&words)?;
    let on = |flag: &str| {
        parsed
            .flags
            .get(flag)
            .and_then(|values| values.last())
            .is_some_and(|value| value == "true")
    };
    let extent = Extent {
        all: on("all") && parsed.command.path.is_empty(),
        sub_commands: on("sub-commands"),
    };
    if let Some(error) = arguments::unknown_command(&parsed) {
        return Err(error.into());
    }
    if parsed.command.path == "help" {
        return explain(&parsed.arguments, extent);
    }
    if on("help") {
        return render::print(&help::help(parsed.command, extent));
    }
    if on("version") {
        return render::print_line(env!("CARGO_PKG_VERSION"));
    }
    if parsed.command.path.is_empty() {
        return render::print(&help::help(parsed.command, extent));
    }
    if on("debug") || on("verbose") {
        log(on("debug"));
    }
    execute((config, fresh), parsed, extent)
}

/// Takes `config` from `config profile ...`, as profiles were once reached.
fn without_old_prefix(mut words: Vec<String>) -> Vec<String> {
    let mut named = words
        .iter()
        .enumerate()
        .filter(|(_, word)| !word.starts_with('-'))
        .map(|(at, word)| (at, word.as_str()));
    if let (Some((at, "config")), Some((_, "profile"))) = (named.next(), named.next()) {
        words.remove(at);
    }
    words
}

/// Runs the command, once its arguments have been counted.
fn execute((config, fresh): (Config, bool), parsed: Parsed, extent: Extent) -> Result<()> {
    let command = parsed.command;
    let Some((min, max)) = command.count else {
        if !command.strict {
            return render::print(&help::help(command, extent));
        }
        eprint!("{}", help::usage(command, extent));
        return Ok(());
    };
    let count = parsed.arguments.len();
    if count < min || count > max {
        render::print(&help::help(command, extent))?;
        return Err(if count == 0 { Error::Help } else { Error::Count });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| Error::Terminal {
        doing: "Failed to start",
        source,
    })?;
    if fresh {
        runtime.block_on(welcome(&config));
    }
    let mut context = Context::new(config, parsed);
    let ended = runtime.block_on(commands::run(&mut context, command.path));
    // A read of standard input that still waits must not keep the command from ending.
    runtime.shutdown_background();
    if let Err(Error::HelpAndCount) = ended {
        render::print(&help::help(command, extent))?;
        return Err(Error::Count);
    }
    if let Err(Error::Usage) = ended {
        eprint!("{}", help::usage(command, extent));
        return Ok(());
    }
    ended
}

/// `lxc help`.
fn explain(words: &[String], extent: Extent) -> Result<()> {
    let parsed = arguments::parse(words)?;
    match arguments::unknown_command(&parsed) {
        None => render::print(&help::help(parsed.command, extent)),
        Some(_) => {
            eprintln!("Unknown help topic [`{}`]", words.join("` `"));
            eprint!("{}", help::usage(&tree::ROOT, extent));
            Ok(())
        }
    }
}

/// Greets a newcomer to the server of this host, if there is one, and keeps a configuration to start from.
async fn welcome(config: &Config) {
    let local = lxd_client::Client::unix(context::local_socket());
    let pools: lxd_client::Result<Vec<String>> = local.get("/1.0/storage-pools").await;
    let Ok(pools) = pools else { return };
    if pools.is_empty() {
        eprintln!("If this is your first time running LXD on this machine, you should also run: lxd init");
    }
    eprintln!("To start your first container, try: lxc launch ubuntu:22.04");
    eprintln!("Or for a virtual machine: lxc launch ubuntu:22.04 --vm\n");
    if let Err(error) = config.save() {
        tracing::debug!(%error, "the configuration was not saved");
    }
}

fn config_folder() -> PathBuf {
    let chosen = std::env::var_os("LXD_CONF").filter(|folder| !folder.is_empty());
    let home = || std::env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
    chosen.map_or_else(|| home().join(".config/lxc"), PathBuf::from)
}

fn log(everything: bool) {
    let level = if everything {
        tracing::Level::DEBUG
    } else {
        tracing::Level::INFO
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
}
