//! One container as liblxc sees it. Calls may fork: use this in a small process only, never in the daemon.
#![allow(unsafe_code, reason = "calls through the table of function pointers in ffi")]

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::ptr::{null, null_mut};

use crate::ffi;

/// What liblxc refused to do. Its reasons are in its log file only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A name, path or argument holds a NUL byte.
    Nul(String),
    /// No handle could be made for this container.
    New(String),
    /// This configuration file was refused.
    LoadConfig(String),
    /// This key can't have this value.
    SetConfigItem(String),
    /// The container did not reach the state RUNNING.
    Start(String),
    /// The container is not running, or does not answer.
    NotRunning(String),
    /// No process could be started inside.
    Attach(String),
    /// What runs could not be saved.
    Dump(String),
    /// What was saved does not run again.
    Restore(String),
    /// The installed library lacks this call.
    Missing(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nul(text) => write!(f, "{text:?} holds a NUL byte"),
            Self::New(name) => write!(f, "creating a handle for container {name:?} failed"),
            Self::LoadConfig(path) => write!(f, "Failed to load config file {path:?}"),
            Self::SetConfigItem(key) => write!(f, "setting {key:?} failed"),
            Self::Start(name) => write!(f, "starting container {name:?} failed"),
            Self::NotRunning(name) => write!(f, "container {name:?} is not running"),
            Self::Attach(name) => write!(f, "attaching to container {name:?} failed"),
            Self::Dump(name) => write!(f, "saving the processes of container {name:?} failed"),
            Self::Restore(name) => write!(f, "restoring the processes of container {name:?} failed"),
            Self::Missing(call) => write!(f, "the installed liblxc has no {call}"),
        }
    }
}

impl std::error::Error for Error {}

/// What to run inside a running container.
#[derive(Debug)]
pub struct Attach<'a> {
    /// Program and arguments; the program is searched in the `PATH` of `environment`.
    pub argv: &'a [CString],
    /// The whole environment, `KEY=value`; liblxc adds `container=lxc`.
    pub environment: &'a [CString],
    /// Working directory inside; `/` where it does not exist.
    pub cwd: &'a CStr,
    /// User inside the container.
    pub uid: u32,
    /// Group inside the container.
    pub gid: u32,
    /// Standard input, output and error of the program.
    pub stdio: [BorrowedFd<'a>; 3],
    /// Make the program the leader of a session whose terminal is its standard input.
    pub controlling_terminal: bool,
    /// The program begins when a byte comes here, and never does when this ends first.
    pub wait_for: BorrowedFd<'a>,
    /// This process is in the container's control groups, so that the program need not be moved there.
    pub inside_groups: bool,
}

/// The largest file without a name that is saved with what has it open, in bytes: 256 MiB.
const GHOST_LIMIT: u64 = 256 << 20;

/// A handle on one container.
pub struct Container {
    raw: *mut ffi::lxc_container,
    name: String,
}

/// Calls a member of the function table, or returns [`Error::Missing`].
macro_rules! call {
    ($self:ident . $member:ident ( $($argument:expr),* )) => {{
        // SAFETY: `raw` came from lxc_container_new and lives until drop; the table is never written after.
        let function = unsafe { (*$self.raw).$member }.ok_or(Error::Missing(stringify!($member)))?;
        // SAFETY: the signature is that of the C header; pointer arguments outlive the call.
        unsafe { function($self.raw $(, $argument)*) }
    }};
}

impl Container {
    /// Makes a handle; the container need not exist. `lxcpath` is the folder that holds the container's folder.
    pub fn new(name: &str, lxcpath: &Path) -> Result<Self, Error> {
        let c_name = c_string(name)?;
        let c_path = c_path(lxcpath)?;
        // SAFETY: both strings are NUL-terminated and outlive the call, which copies them.
        let raw = unsafe { ffi::lxc_container_new(c_name.as_ptr(), c_path.as_ptr()) };
        if raw.is_null() {
            return Err(Error::New(name.to_owned()));
        }
        Ok(Self {
            raw,
            name: name.to_owned(),
        })
    }

    /// Reads a configuration file in lxc.container.conf(5) syntax.
    pub fn load_config(&self, path: &Path) -> Result<(), Error> {
        let c_path = c_path(path)?;
        check(call!(self.load_config(c_path.as_ptr())), || {
            Error::LoadConfig(path.display().to_string())
        })
    }

    /// Sets one configuration item of this handle.
    pub fn set_config_item(&self, key: &str, value: &str) -> Result<(), Error> {
        let (c_key, c_value) = (c_string(key)?, c_string(value)?);
        let done = call!(self.set_config_item(c_key.as_ptr(), c_value.as_ptr()));
        check(done, || Error::SetConfigItem(key.to_owned()))
    }

    /// Sets a value of the running container's control group.
    pub fn set_cgroup_item(&self, key: &str, value: &str) -> Result<(), Error> {
        let (c_key, c_value) = (c_string(key)?, c_string(value)?);
        let done = call!(self.set_cgroup_item(c_key.as_ptr(), c_value.as_ptr()));
        check(done, || Error::SetConfigItem(key.to_owned()))
    }

    /// A configuration item of this handle, empty where it is not set.
    pub fn config_item(&self, key: &str) -> Result<String, Error> {
        let c_key = c_string(key)?;
        let length = call!(self.get_config_item(c_key.as_ptr(), null_mut(), 0));
        let Ok(length) = usize::try_from(length) else {
            return Ok(String::new());
        };
        let mut buffer = vec![0u8; length + 1];
        let size = c_int::try_from(buffer.len()).map_err(|_| Error::SetConfigItem(key.to_owned()))?;
        call!(self.get_config_item(c_key.as_ptr(), buffer.as_mut_ptr().cast::<c_char>(), size));
        buffer.truncate(length);
        Ok(String::from_utf8_lossy(&buffer).into_owned())
    }

    /// Starts the container's init in the background: forks a monitor that stays, with every file descriptor
    /// closed, and returns once the container is RUNNING.
    pub fn start_daemonized(&self) -> Result<(), Error> {
        let failed = || Error::Start(self.name.clone());
        check(call!(self.want_daemonize(true)), failed)?;
        check(call!(self.want_close_all_fds(true)), failed)?;
        check(call!(self.start(0, null())), failed)
    }

    /// Has CRIU save the processes into a folder without images; ends them then if `stops`.
    pub fn dump(&self, folder: &Path, stops: bool) -> Result<(), Error> {
        match self.migrate(ffi::MIGRATE_DUMP, folder, stops)? {
            0 => Ok(()),
            _ => Err(Error::Dump(self.name.clone())),
        }
    }

    /// Has CRIU bring back what a folder holds. Forks a monitor that stays, with the file descriptors of this process.
    pub fn restore(&self, folder: &Path) -> Result<(), Error> {
        match self.migrate(ffi::MIGRATE_RESTORE, folder, false)? {
            0 => Ok(()),
            _ => Err(Error::Restore(self.name.clone())),
        }
    }

    fn migrate(&self, command: c_uint, folder: &Path, stop: bool) -> Result<c_int, Error> {
        let directory = c_path(folder)?;
        let mut options = ffi::migrate_opts {
            directory: directory.as_ptr().cast_mut(),
            verbose: true,
            stop,
            predump_dir: null_mut(),
            pageserver_address: null_mut(),
            pageserver_port: null_mut(),
            preserves_inodes: false,
            action_script: null_mut(),
            disable_skip_in_flight: false,
            ghost_limit: GHOST_LIMIT,
            features_to_check: 0,
        };
        let size = c_uint::try_from(size_of::<ffi::migrate_opts>()).unwrap_or(0);
        Ok(call!(self.migrate(command, &raw mut options, size)))
    }

    /// The state's name: `STOPPED`, `STARTING`, `RUNNING`, `STOPPING`, `ABORTING`, `FREEZING`, `FROZEN`, `THAWED`.
    pub fn state(&self) -> Result<String, Error> {
        let state = call!(self.state());
        if state.is_null() {
            return Err(Error::NotRunning(self.name.clone()));
        }
        // SAFETY: liblxc returns a static NUL-terminated string.
        Ok(unsafe { CStr::from_ptr(state) }.to_string_lossy().into_owned())
    }

    /// The process id of the container's init, seen from this process.
    pub fn init_pid(&self) -> Result<i32, Error> {
        match call!(self.init_pid()) {
            pid if pid > 0 => Ok(pid),
            _ => Err(Error::NotRunning(self.name.clone())),
        }
    }

    /// The root of the container's own devpts instance.
    pub fn devpts(&self) -> Result<OwnedFd, Error> {
        if !has_extension(c"devpts_fd") {
            return Err(Error::Missing("devpts_fd"));
        }
        match call!(self.devpts_fd()) {
            // SAFETY: a descriptor just received over the command socket, owned by nobody else.
            fd if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            _ => Err(Error::NotRunning(self.name.clone())),
        }
    }

    /// Takes the console: a descriptor that holds it while open, and the terminal's master side.
    pub fn console(&self) -> Result<(OwnedFd, OwnedFd), Error> {
        let (mut number, mut master): (c_int, c_int) = (0, -1);
        let held = call!(self.console_getfd(&raw mut number, &raw mut master));
        if held < 0 || master < 0 {
            return Err(Error::NotRunning(self.name.clone()));
        }
        // SAFETY: both were just received over the command socket and are owned by nobody else.
        Ok(unsafe { (OwnedFd::from_raw_fd(held), OwnedFd::from_raw_fd(master)) })
    }

    /// What the console's ring buffer holds; empties it when `clear`.
    pub fn console_log(&self, clear: bool) -> Result<Vec<u8>, Error> {
        let mut size: u64 = 0;
        let mut log = ffi::lxc_console_log {
            clear,
            read: true,
            read_max: &raw mut size,
            data: null_mut(),
        };
        if call!(self.console_log(&raw mut log)) != 0 || log.data.is_null() {
            return Ok(Vec::new());
        }
        let length = usize::try_from(size).unwrap_or(0);
        // SAFETY: on success `data` is an allocation of `read_max` bytes that the caller must free.
        let text = unsafe { std::slice::from_raw_parts(log.data.cast::<u8>(), length) }.to_vec();
        // SAFETY: allocated with malloc by liblxc, and not used after this.
        unsafe { libc::free(log.data.cast::<c_void>()) };
        Ok(text)
    }

    /// Starts a program inside. It becomes a child of this process, which must wait for it.
    pub fn attach(&self, attach: &Attach<'_>) -> Result<i32, Error> {
        let mut argv = pointers(attach.argv);
        let mut environment = pointers(attach.environment);
        let attach_flags = match attach.inside_groups {
            true => ffi::LXC_ATTACH_DEFAULT & !ffi::LXC_ATTACH_MOVE_TO_CGROUP,
            false => ffi::LXC_ATTACH_DEFAULT,
        };
        let mut options = ffi::lxc_attach_options_t {
            attach_flags,
            namespaces: -1,
            personality: ffi::LXC_ATTACH_DETECT_PERSONALITY,
            initial_cwd: attach.cwd.as_ptr().cast_mut(),
            uid: attach.uid,
            gid: attach.gid,
            env_policy: ffi::LXC_ATTACH_CLEAR_ENV,
            extra_env_vars: environment.as_mut_ptr(),
            extra_keep_env: null_mut(),
            stdin_fd: attach.stdio[0].as_raw_fd(),
            stdout_fd: attach.stdio[1].as_raw_fd(),
            stderr_fd: attach.stdio[2].as_raw_fd(),
            log_fd: -libc::EBADF,
            lsm_label: null_mut(),
            groups: ffi::lxc_groups_t {
                size: 0,
                list: null_mut(),
            },
        };
        let mut program = Program {
            argv: argv.as_mut_ptr(),
            wait_for: attach.wait_for.as_raw_fd(),
        };
        let run: ffi::lxc_attach_exec_t = if attach.controlling_terminal {
            Some(run_with_terminal)
        } else {
            Some(run_program)
        };
        let payload = (&raw mut program).cast::<c_void>();
        let mut pid: libc::pid_t = -1;
        if call!(self.attach(run, payload, &raw mut options, &raw mut pid)) < 0 || pid <= 0 {
            return Err(Error::Attach(self.name.clone()));
        }
        Ok(pid)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // SAFETY: the reference taken by lxc_container_new is given back once.
        unsafe { ffi::lxc_container_put(self.raw) };
    }
}

/// The library's version, such as `5.0.2`.
pub fn version() -> String {
    // SAFETY: liblxc returns a static NUL-terminated string.
    unsafe { CStr::from_ptr(ffi::lxc_get_version()) }
        .to_string_lossy()
        .into_owned()
}

/// Whether the library announces an API extension.
pub fn has_extension(name: &CStr) -> bool {
    // SAFETY: the string is NUL-terminated and outlives the call.
    unsafe { ffi::lxc_has_api_extension(name.as_ptr()) }
}

/// Whether the library knows a configuration key.
pub fn supports_item(key: &str) -> bool {
    // SAFETY: the string is NUL-terminated and outlives the call.
    c_string(key).is_ok_and(|key| unsafe { ffi::lxc_config_item_is_supported(key.as_ptr()) })
}

/// Sends the log of this process to a file; `level` is one of liblxc's, such as `WARN`.
pub fn log_to(name: &str, lxcpath: &Path, file: &Path, level: &CStr) -> Result<(), Error> {
    let (name_c, path_c, file_c) = (c_string(name)?, c_path(lxcpath)?, c_path(file)?);
    let mut log = ffi::lxc_log {
        name: name_c.as_ptr(),
        lxcpath: path_c.as_ptr(),
        file: file_c.as_ptr(),
        level: level.as_ptr(),
        prefix: c"lxd".as_ptr(),
        quiet: true,
    };
    // SAFETY: the strings outlive the call, which copies what it keeps.
    check(unsafe { ffi::lxc_log_init(&raw mut log) } == 0, || {
        Error::New(name.to_owned())
    })
}

/// Runs inside the container, in a process that has one thread, just before the program's exec.
unsafe extern "C" fn run_with_terminal(payload: *mut c_void) -> c_int {
    // SAFETY: plain system calls on this process and its standard input; failures leave a program without
    // job control, which is better than none.
    unsafe {
        libc::setsid();
        libc::ioctl(0, libc::TIOCSCTTY, 0);
        run_program(payload)
    }
}

/// What [`run_program`] is told.
struct Program {
    /// Strings, closed by NULL; the first is also the program's name.
    argv: *mut *mut c_char,
    wait_for: c_int,
}

/// Runs inside the container and becomes the program once it may, or ends with a shell's code for what can't be run. The library's
/// own function also writes to standard error, which is the user's by then.
unsafe extern "C" fn run_program(payload: *mut c_void) -> c_int {
    // SAFETY: the payload is the one that `attach` gave, whose strings live as long as this process.
    let error = unsafe {
        let program = &*payload.cast::<Program>();
        if !comes(program.wait_for) {
            return libc::EXIT_FAILURE;
        }
        // Rust ignores it in its own programs; this one is not ours, and `yes | head` must end.
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let argv = program.argv.cast::<*const c_char>().cast_const();
        libc::execvp(*argv, argv);
        *libc::__errno_location()
    };
    match error {
        libc::ENOEXEC | libc::EACCES => 126,
        libc::ENOENT => 127,
        _ => -1,
    }
}

/// Waits for a byte. None comes when the other end is closed first.
fn comes(fd: c_int) -> bool {
    let mut byte = 0_u8;
    loop {
        // SAFETY: there is room for one byte.
        match unsafe { libc::read(fd, (&raw mut byte).cast(), 1) } {
            -1 if std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted => {}
            count => return count == 1,
        }
    }
}

fn check(done: bool, error: impl FnOnce() -> Error) -> Result<(), Error> {
    if done { Ok(()) } else { Err(error()) }
}

fn c_string(text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error::Nul(text.to_owned()))
}

fn c_path(path: &Path) -> Result<CString, Error> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::Nul(path.display().to_string()))
}

/// The strings' addresses, closed by NULL. C takes them as mutable and leaves them alone.
fn pointers(strings: &[CString]) -> Vec<*mut c_char> {
    strings
        .iter()
        .map(|text| text.as_ptr().cast_mut())
        .chain([null_mut()])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_reports_state_and_refuses_bad_config() {
        let folder = tempfile::tempdir().unwrap();
        let container = Container::new("lxt-none", folder.path()).unwrap();
        assert_eq!(container.state().unwrap(), "STOPPED");
        assert_eq!(container.init_pid(), Err(Error::NotRunning("lxt-none".into())));
        let good = folder.path().join("good");
        std::fs::write(&good, "lxc.uts.name = here\n").unwrap();
        container.load_config(&good).unwrap();
        assert_eq!(container.config_item("lxc.uts.name").unwrap(), "here");
        let bad = folder.path().join("bad");
        std::fs::write(&bad, "lxc.nonsense = 1\n").unwrap();
        assert!(matches!(container.load_config(&bad), Err(Error::LoadConfig(_))));
        assert!(matches!(
            Container::new("a\0b", folder.path()),
            Err(Error::Nul(_))
        ));
    }

    #[test]
    fn the_library_is_new_enough_for_the_bindings() {
        let major: u32 = version().split('.').next().unwrap().parse().unwrap();
        assert!(major >= 4, "liblxc {}", version());
        assert!(supports_item("lxc.idmap") && !supports_item("lxc.nonsense"));
        assert!(has_extension(c"cgroup2") && !has_extension(c"nonsense"));
    }
}
