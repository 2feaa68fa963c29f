//! One control group: its files in every hierarchy.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Cgroups, Error, Version, Write};

/// How long processes may take to freeze before the attempt is undone.
const FREEZE_PATIENCE: Duration = Duration::from_secs(10);
const FREEZE_PAUSE: Duration = Duration::from_millis(1);

/// What a group uses. `None` where this machine does not count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Memory, in bytes.
    pub memory: Option<u64>,
    /// The most memory there ever was, in bytes.
    pub memory_peak: Option<u64>,
    /// Swap, in bytes.
    pub swap: Option<u64>,
    /// The most swap there ever was, in bytes.
    pub swap_peak: Option<u64>,
    /// Processor time, in nanoseconds.
    pub cpu: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
}

/// A control group, which may or may not exist.
#[derive(Debug, Clone)]
pub struct Group {
    path: String,
    legacy: BTreeMap<String, PathBuf>,
    unified: Option<PathBuf>,
    machine: Cgroups,
}

impl Group {
    pub(super) fn new(
        path: String,
        legacy: BTreeMap<String, PathBuf>,
        unified: Option<PathBuf>,
        machine: Cgroups,
    ) -> Self {
        Self {
            path,
            legacy,
            unified,
            machine,
        }
    }

    /// The group's path below the hierarchies' mount points.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it exists in any hierarchy.
    pub fn exists(&self) -> bool {
        self.folders().any(Path::is_dir)
    }

    /// What the group uses now. Costs a handful of reads.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        match self.machine.version("memory") {
            Some(Version::V1) => {
                let number = |file: &str| self.number("memory", file);
                usage.memory = number("memory.usage_in_bytes");
                usage.memory_peak = number("memory.max_usage_in_bytes");
                // Version 1 counts memory and swap together.
                let less = |sum: Option<u64>, memory: Option<u64>| Some(sum?.saturating_sub(memory?));
                usage.swap = less(number("memory.memsw.usage_in_bytes"), usage.memory);
                usage.swap_peak = less(number("memory.memsw.max_usage_in_bytes"), usage.memory_peak);
            }
            Some(Version::V2) => {
                let number = |file: &str| self.number("memory", file);
                usage.memory = number("memory.current");
                usage.memory_peak = number("memory.peak");
                usage.swap = number("memory.swap.current");
                usage.swap_peak = number("memory.swap.peak");
            }
            None => {}
        }
        usage.cpu = match self.machine.version("cpuacct") {
            Some(Version::V1) => self.number("cpuacct", "cpuacct.usage"),
            _ => self.cpu_stat(),
        };
        usage.processes = self.number("pids", "pids.current");
        usage
    }

    /// The text of one file.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::Read`].
    pub fn read(&self, controller: &'static str, file: &str) -> Result<String, Error> {
        get(&self
            .folder(controller)
            .ok_or(Error::Missing { controller })?
            .join(file))
    }

    /// Writes one value.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::Write`].
    pub fn write(&self, write: &Write) -> Result<(), Error> {
        let folder = self.folder(write.controller).ok_or(Error::Missing {
            controller: write.controller,
        })?;
        put(&folder.join(write.file), &write.value)
    }

    /// Moves a process into this group, in every hierarchy.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn add(&self, pid: i32) -> Result<(), Error> {
        self.legacy()
            .into_iter()
            .chain(self.unified())
            .try_for_each(|folder| put(&folder.join("cgroup.procs"), &pid.to_string()))
    }

    /// The host's ids of the processes in this group and the groups below it.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn processes(&self) -> Result<Vec<i32>, Error> {
        let folder = self
            .folder("pids")
            .or(self.unified.as_deref())
            .or_else(|| self.folders().next());
        let mut found = Vec::new();
        if let Some(folder) = folder {
            processes_below(folder, &mut found)?;
        }
        Ok(found)
    }

    /// Stops all processes where they are, and waits until they stand. May take a while: not for async code.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Write`], [`Error::Read`]; [`Error::Freeze`] when some process does not stop,
    /// after thawing the others again.
    pub fn freeze(&self) -> Result<(), Error> {
        let (folder, version) = self.freezer()?;
        let mut waited = Duration::ZERO;
        loop {
            // Version 1 must be told again when it stays FREEZING.
            match version {
                Version::V1 => put(&folder.join("freezer.state"), "FROZEN")?,
                Version::V2 => put(&folder.join("cgroup.freeze"), "1")?,
            }
            if self.is_frozen()? {
                return Ok(());
            }
            if waited > FREEZE_PATIENCE {
                self.thaw()?;
                return Err(Error::Freeze {
                    path: self.path.clone(),
                });
            }
            std::thread::sleep(FREEZE_PAUSE);
            waited += FREEZE_PAUSE;
        }
    }

    /// Lets frozen processes go on.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Write`].
    pub fn thaw(&self) -> Result<(), Error> {
        match self.freezer()? {
            (folder, Version::V1) => put(&folder.join("freezer.state"), "THAWED"),
            (folder, Version::V2) => put(&folder.join("cgroup.freeze"), "0"),
        }
    }

    /// Whether all processes are frozen.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Read`].
    pub fn is_frozen(&self) -> Result<bool, Error> {
        match self.freezer()? {
            (folder, Version::V1) => Ok(get(&folder.join("freezer.state"))?.trim() == "FROZEN"),
            (folder, Version::V2) => Ok(get(&folder.join("cgroup.events"))?
                .lines()
                .any(|line| line == "frozen 1")),
        }
    }

    /// Removes the group and all below it, in every hierarchy. A group that does not exist is no error.
    ///
    /// # Errors
    /// All [`Error::Remove`]s, such as those of groups that hold processes.
    pub fn remove(&self) -> Vec<Error> {
        let mut errors = Vec::new();
        // Controllers mounted together share a folder, which is then gone the second time.
        for folder in self.folders() {
            remove_below(folder, &mut errors);
        }
        errors
    }

    /// Its folders in the hierarchies of version 1, each once: controllers may share a hierarchy.
    pub fn legacy(&self) -> BTreeSet<&Path> {
        self.legacy.values().map(PathBuf::as_path).collect()
    }

    /// Its folder in the hierarchy of version 2.
    pub fn unified(&self) -> Option<&Path> {
        self.unified.as_deref()
    }

    fn folders(&self) -> impl Iterator<Item = &Path> {
        self.legacy.values().chain(&self.unified).map(PathBuf::as_path)
    }

    fn folder(&self, controller: &str) -> Option<&Path> {
        match self.machine.version(controller)? {
            Version::V1 => self.legacy.get(controller).map(PathBuf::as_path),
            Version::V2 => self.unified.as_deref(),
        }
    }

    fn freezer(&self) -> Result<(&Path, Version), Error> {
        let missing = Error::Missing {
            controller: "freezer",
        };
        let version = self.machine.version("freezer");
        version
            .and_then(|version| Some((self.folder("freezer")?, version)))
            .ok_or(missing)
    }

    fn number(&self, controller: &str, file: &str) -> Option<u64> {
        std::fs::read_to_string(self.folder(controller)?.join(file))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Version 2 counts processor time in every group, its cpu controller present or not.
    fn cpu_stat(&self) -> Option<u64> {
        let text = std::fs::read_to_string(self.unified.as_ref()?.join("cpu.stat")).ok()?;
        let micros: u64 = text
            .lines()
            .find_map(|line| line.strip_prefix("usage_usec "))?
            .parse()
            .ok()?;
        Some(micros * 1000)
    }
}

fn get(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}

fn put(path: &Path, value: &str) -> Result<(), Error> {
    // Never creates: a missing file is a missing feature.
    let written = std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()));
    written.map_err(|source| Error::Write {
        path: path.to_owned(),
        value: value.to_owned(),
        source,
    })
}

fn processes_below(folder: &Path, found: &mut Vec<i32>) -> Result<(), Error> {
    match get(&folder.join("cgroup.procs")) {
        Ok(text) => found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
        Err(Error::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    subfolders(folder).try_for_each(|below| processes_below(&below, found))
}

fn remove_below(folder: &Path, errors: &mut Vec<Error>) {
    for below in subfolders(folder) {
        remove_below(&below, errors);
    }
    if let Err(source) = std::fs::remove_dir(folder)
        && source.kind() != io::ErrorKind::NotFound
    {
        errors.push(Error::Remove {
            path: folder.to_owned(),
            source,
        });
    }
}

fn subfolders(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
}
