//! The folder that holds what ran in a container: CRIU's images, with its logs.

use std::io;
use std::path::{Path, PathBuf};

/// CRIU's log of saving, in the folder.
pub const DUMP_LOG: &str = "dump.log";
/// CRIU's log of bringing back, in the folder.
pub const RESTORE_LOG: &str = "restore.log";

/// More options for CRIU, in the folder; whoever runs the helper names the file in `CRIU_CONFIG_FILE`.
pub const OPTIONS: &str = "criu.conf";

/// The folder's name while it is filled. Whoever fills it has it locked.
pub fn unfinished(folder: &Path) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(".unfinished");
    name.into()
}

/// Waits for whoever fills the folder. Nobody, and no folder, is fine.
///
/// # Errors
/// The lock can't be taken for another reason.
pub fn outlast(folder: &Path) -> io::Result<()> {
    match std::fs::File::open(unfinished(folder)) {
        Ok(held) => held.lock(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// What a log of CRIU's has of errors, a line each; nothing of a log that is not there.
pub fn errors(log: &Path) -> Vec<String> {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().filter(|line| line.contains("Error"));
    lines.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_errors_are_told_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join(DUMP_LOG);
        let text =
            "(00.1) Dumping\n(00.2) Error (criu/a.c:1): no\n(00.3) Warn  (b)\n     1: Error (c): never\n";
        std::fs::write(&log, text).unwrap();
        assert_eq!(
            errors(&log),
            ["(00.2) Error (criu/a.c:1): no", "     1: Error (c): never"]
        );
        assert!(errors(&folder.path().join("none")).is_empty());
    }

    #[test]
    fn who_waits_for_the_folder_waits_for_its_lock() {
        let area = tempfile::tempdir().unwrap();
        let folder = area.path().join("state");
        outlast(&folder).unwrap();
        let part = unfinished(&folder);
        assert_eq!(part, area.path().join("state.unfinished"));
        std::fs::create_dir(&part).unwrap();
        let held = std::fs::File::open(&part).unwrap();
        held.lock().unwrap();
        let waiting = std::thread::spawn(move || outlast(&folder));
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!waiting.is_finished());
        drop(held);
        waiting.join().unwrap().unwrap();
    }
}
