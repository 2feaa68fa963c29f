//! Programs that do what no call of the kernel does, run from threads that may block.

use lxd_sys::command::{Command, Error, Output};

use crate::error::StorageError;
use crate::watch::Watch;

/// Runs to the end; the program is killed, and nothing is given, when the work is cancelled.
pub(crate) fn run(command: Command, watch: &Watch) -> Result<Option<Output>, Error> {
    let command = command.env("LC_ALL", "C");
    let program = command.program().to_string_lossy().into_owned();
    let args = command.rendered_args();
    let work = async {
        tokio::select! {
            output = command.output() => output.map(Some),
            () = watch.cancelled() => Ok(None),
        }
    };
    match tokio::runtime::Handle::try_current() {
        Ok(handle) => handle.block_on(work),
        Err(_) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let step = "starting a runtime";
            runtime
                .map_err(|source| Error::Start {
                    program,
                    args,
                    step,
                    source,
                })?
                .block_on(work)
        }
    }
}

/// Runs to the end; failures are worded as the reference words them, for what users are to see.
pub(crate) fn run_for_user(command: Command) -> Result<(), StorageError> {
    match run(command, &Watch::none()) {
        Ok(_) => Ok(()),
        Err(Error::Failed {
            program,
            args,
            code,
            stderr,
        }) => Err(StorageError::refused(format!(
            "Failed to run: {program} {args}: exit status {code} ({})",
            stderr.trim()
        ))),
        Err(error) => Err(error.into()),
    }
}

/// Whether a program is installed.
pub(crate) fn is_installed(program: &str) -> bool {
    Command::new(program).resolve().is_ok()
}
