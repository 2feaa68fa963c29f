//! Saves what runs in a container into a folder, and lets it go on from there, by CRIU through liblxc.
//!
//! liblxc gives CRIU its arguments. What they lack comes from a configuration file that CRIU is told about:
//!
//! * The console. liblxc makes it in the container's own devpts, so that the end that CRIU finds inside has its other end
//!   outside; and it makes none when it brings a container back, and refuses to, for want of it. So it is told that there is none, and
//!   CRIU that the console is somebody else's: one of the host's, whose other end this process has. It throws away what comes.
//! * Mounts. CRIU's newer way of making them wants to share what a process in another namespace shares, which the kernel refuses.
//! * Cards, whose ends on the host CRIU makes. liblxc knows of none: a hook makes them at a start.
#![allow(
    unsafe_code,
    reason = "fork, a terminal, and mounts in a namespace of its own"
)]

use std::ffi::CString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use liblxc::container::Container;
use liblxc::nic::{Kind, Nic};
use liblxc::protocol::Started;
use liblxc::saved;

use crate::{criu, link, start};

/// Where it stands which terminal the console was. The reference's `tty.info` is of no use: liblxc names the mount `console`, and
/// when it brings a container back it says that this is nowhere.
const CONSOLE: &str = "console.info";
/// What the console's mount is called in the images.
const CONSOLE_MOUNT: &str = "lxd-console";
/// Where a user namespace comes in for the root's mount.
const USERNS: RawFd = 3;
/// A container's group `tty`.
const TTY_GROUP: u32 = 5;

/// Which container, as liblxc wants it.
#[derive(Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) name: &'a str,
    pub(crate) lxcpath: &'a Path,
    pub(crate) config: &'a Path,
}

impl Named<'_> {
    fn load(self) -> Result<Container, String> {
        let container = Container::new(self.name, self.lxcpath).map_err(|e| e.to_string())?;
        container.load_config(self.config).map_err(|e| e.to_string())?;
        Ok(container)
    }
}

/// Saves what runs. The folder has its name only once all of it is there, also when the daemon has died meanwhile.
pub(crate) fn dump(named: Named<'_>, folder: &Path, stops: bool, copy: &Path) -> Result<(), String> {
    let container = named.load()?;
    let part = saved::unfinished(folder);
    let told = |what: &str, path: &Path, e: io::Error| format!("{what} {}: {e}", path.display());
    let made = std::fs::DirBuilder::new().mode(0o700).create(&part);
    made.map_err(|e| told("creating", &part, e))?;
    let held = File::open(&part).map_err(|e| told("opening", &part, e))?;
    held.lock().map_err(|e| told("locking", &part, e))?;
    let prepared = set_console_apart(&container, &part);
    prepared.map_err(|e| format!("preparing {}: {e}", part.display()))?;
    let log = part.join(saved::DUMP_LOG);
    let mut done = container.dump(&part, stops).map_err(|e| e.to_string());
    if done.is_err() && !log.exists() && criu::has_one_hierarchy() {
        // liblxc did not come so far.
        let told = |e: liblxc::container::Error| e.to_string();
        let mounts = container.config_item("lxc.mount.entry").map_err(told)?;
        done = criu::dump(container.init_pid().map_err(told)?, &part, &mounts, stops);
    }
    let errors = saved::errors(&log);
    // Of use to people only.
    let _ = std::fs::copy(&log, copy);
    if let Err(error) = done {
        return Err(reason(&errors, &error));
    }
    std::fs::rename(&part, folder).map_err(|e| told("renaming", &part, e))
}

/// Keeps liblxc from the console, and tells CRIU of it.
fn set_console_apart(container: &Container, part: &Path) -> Result<(), String> {
    let init = container.init_pid().map_err(|e| e.to_string())?;
    let console = Path::new("/proc").join(init.to_string()).join("root/dev/console");
    let mut options = String::new();
    if let Ok(found) = console.symlink_metadata()
        && found.file_type().is_char_device()
    {
        let terminal = format!("tty[{:x}:{:x}]", found.rdev(), found.dev());
        let _ = writeln!(
            options,
            "external {terminal}\next-mount-map /dev/console:{CONSOLE_MOUNT}"
        );
        std::fs::write(part.join(CONSOLE), terminal).map_err(|e| e.to_string())?;
    }
    std::fs::write(part.join(saved::OPTIONS), options).map_err(|e| e.to_string())?;
    let told = container.set_config_item("lxc.console.path", "none");
    told.map_err(|e| e.to_string())
}

/// Lets what was saved go on, and prints its processes.
pub(crate) fn restore(
    named: Named<'_>,
    folder: &Path,
    [uid, gid, mapped]: [&str; 3],
    copy: &Path,
    cards: &[&str],
) -> Result<(), String> {
    let number = |text: &str| text.parse::<u32>().map_err(|e| format!("{text}: {e}"));
    let owner = (number(uid)?, number(gid)?);
    let cards = cards.iter().map(|text| Nic::parse(text));
    let cards: Vec<Nic> = cards.collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    let prepared = prepare(folder, owner, &cards);
    let terminal = prepared.map_err(|e| format!("preparing {}: {e}", folder.display()))?;
    let done = in_child(named, folder, mapped == "mapped", terminal);
    let log = folder.join(saved::RESTORE_LOG);
    let errors = saved::errors(&log);
    let _ = std::fs::copy(&log, copy);
    if let Err(error) = done {
        let _ = std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700));
        return Err(reason(&errors, &error));
    }
    for card in cards.iter().filter(|card| card.kind == Kind::Veth) {
        link::settle(card).map_err(|e| format!("setting up network card {}: {e}", card.host_name))?;
    }
    let container = named.load()?;
    let init = container.init_pid().map_err(|e| e.to_string())?;
    let Some(monitor) = start::parent(init) else {
        return Ok(());
    };
    let line = Started { init, monitor }.to_line();
    io::stdout()
        .write_all(line.as_bytes())
        .map_err(|e| format!("reporting the processes: {e}"))
}

/// CRIU's own words where it said something, for liblxc's say little.
fn reason(errors: &[String], otherwise: &str) -> String {
    if errors.is_empty() {
        return otherwise.to_owned();
    }
    errors.join("\n")
}

/// Both ends of the terminal that becomes the console.
struct Terminal {
    master: OwnedFd,
    slave: OwnedFd,
    path: PathBuf,
}

/// Makes the folder readable for the container's root, who reads it, and for the host's without its rights, whom CRIU is at first
/// in a new user namespace; nobody else comes past the volume's folder. Writes what CRIU is to know besides.
fn prepare(folder: &Path, (uid, gid): (u32, u32), cards: &[Nic]) -> io::Result<Option<Terminal>> {
    std::os::unix::fs::chown(folder, Some(uid), Some(gid))?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
    let _ = std::fs::remove_file(folder.join(saved::RESTORE_LOG));
    let mut options = "mntns-compat-mode\n".to_owned();
    let terminal = match std::fs::read_to_string(folder.join(CONSOLE)) {
        Ok(was) => {
            let terminal = open_terminal((uid, gid + TTY_GROUP))?;
            let _ = writeln!(
                options,
                "inherit-fd fd[{}]:{}",
                terminal.slave.as_raw_fd(),
                was.trim()
            );
            let _ = writeln!(
                options,
                "ext-mount-map {CONSOLE_MOUNT}:{}",
                terminal.path.display()
            );
            Some(terminal)
        }
        // The console was turned off.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    for card in cards {
        let _ = match (card.kind, &card.master, &card.parent) {
            (Kind::Veth, Some(bridge), _) => {
                writeln!(
                    options,
                    "external veth[{}]:{}@{bridge}",
                    card.name, card.host_name
                )
            }
            (Kind::Veth, None, _) => writeln!(options, "external veth[{}]:{}", card.name, card.host_name),
            (Kind::Macvlan, _, Some(parent)) => writeln!(options, "external macvlan[{}]:{parent}", card.name),
            _ => Ok(()),
        };
    }
    let file = folder.join(saved::OPTIONS);
    std::fs::write(&file, options)?;
    Ok(terminal)
}

/// A terminal of the host's, whose inner end programs that are run here have, too.
fn open_terminal((uid, gid): (u32, u32)) -> io::Result<Terminal> {
    let flags = libc::O_RDWR | libc::O_NOCTTY;
    // SAFETY: plain system calls; descriptors are checked before they are owned, and the buffer is as long as is said.
    unsafe {
        let master = owned(libc::open(c"/dev/ptmx".as_ptr(), flags | libc::O_CLOEXEC))?;
        let unlock: libc::c_int = 0;
        check(libc::ioctl(
            master.as_raw_fd(),
            libc::TIOCSPTLCK,
            &raw const unlock,
        ))?;
        let mut number: libc::c_uint = 0;
        check(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number))?;
        let path = PathBuf::from(format!("/dev/pts/{number}"));
        let name = c_path(&path)?;
        let slave = owned(libc::open(name.as_ptr(), flags))?;
        check(libc::fchown(slave.as_raw_fd(), uid, gid))?;
        Ok(Terminal { master, slave, path })
    }
}

/// Has liblxc do it in a child, whose child becomes the monitor; the child itself stays for the console.
fn in_child(
    named: Named<'_>,
    folder: &Path,
    is_mapped: bool,
    terminal: Option<Terminal>,
) -> Result<(), String> {
    let lost = |e: io::Error| format!("starting a child: {e}");
    let (mut answer, report) = io::pipe().map_err(lost)?;
    // SAFETY: this process has one thread, so the child may do whatever it could do.
    match unsafe { libc::fork() } {
        -1 => Err(lost(io::Error::last_os_error())),
        0 => {
            drop(answer);
            let code = match bring_back(named, folder, is_mapped) {
                Ok(()) => serve(report, terminal),
                Err(error) => {
                    let mut report = report;
                    let _ = report.write_all(error.as_bytes());
                    1
                }
            };
            // SAFETY: ends this process without what the parent's copy has to do at its end.
            unsafe { libc::_exit(code) }
        }
        _ => {
            drop(report);
            drop(terminal);
            // The monitor has its other end for good: so the first byte says whether it went well.
            let mut first = [0];
            match answer.read(&mut first) {
                Ok(1) if first[0] == 0 => Ok(()),
                Ok(0) => Err("restoring the processes: the child died".to_owned()),
                Ok(_) => {
                    let mut text = vec![first[0]];
                    let _ = answer.read_to_end(&mut text);
                    Err(String::from_utf8_lossy(&text).into_owned())
                }
                Err(error) => Err(lost(error)),
            }
        }
    }
}

fn bring_back(named: Named<'_>, folder: &Path, is_mapped: bool) -> Result<(), String> {
    detach().map_err(|e| format!("leaving the daemon's session: {e}"))?;
    let container = named.load()?;
    let root = container
        .config_item("lxc.rootfs.path")
        .map_err(|e| e.to_string())?;
    if is_mapped {
        let root = root.strip_prefix("dir:").unwrap_or(&root);
        map_root(root).map_err(|e| format!("mapping {root}: {e}"))?;
    }
    container.restore(folder).map_err(|e| e.to_string())
}

/// Nothing of the daemon's stays in the hands of the monitor.
fn detach() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    // SAFETY: plain system calls on descriptors of this process.
    unsafe {
        libc::setsid();
        for stream in 0..3 {
            check(libc::dup2(null.as_raw_fd(), stream))?;
        }
    }
    std::env::set_current_dir("/")
}

/// Lets the root be seen through its map in a mount namespace that this process and the monitor
/// have for themselves. liblxc does so at a start only.
fn map_root(root: &str) -> io::Result<()> {
    let root = c_path(Path::new(root))?;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::try_from(USERNS).unwrap_or_default(),
    };
    // SAFETY: paths are NUL-terminated, the attributes are of the size that is said, and all outlive the calls.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWNS))?;
        let (none, flags) = (std::ptr::null(), libc::MS_SLAVE | libc::MS_REC);
        check(libc::mount(none, c"/".as_ptr(), none, flags, std::ptr::null()))?;
        let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
        let tree = libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, root.as_ptr(), flags);
        let tree = owned(i32::try_from(tree).unwrap_or(-1))?;
        let size = size_of::<libc::mount_attr>();
        let done = libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size,
        );
        check(i32::try_from(done).unwrap_or(-1))?;
        let done = libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            root.as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH,
        );
        check(i32::try_from(done).unwrap_or(-1))?;
        libc::close(USERNS);
    }
    Ok(())
}

/// `MOVE_MOUNT_F_EMPTY_PATH` of linux/mount.h.
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;

/// Reports that all is well. Whatever is written to the console is taken from then on, and forgotten, until nobody has it
/// any more.
fn serve(mut report: io::PipeWriter, terminal: Option<Terminal>) -> i32 {
    let told = report.write_all(&[0]);
    drop(report);
    let Some(Terminal { master, slave, .. }) = terminal.filter(|_| told.is_ok()) else {
        return 0;
    };
    drop(slave);
    let mut master = File::from(master);
    let mut buffer = [0; 4096];
    while matches!(master.read(&mut buffer), Ok(1..)) {}
    0
}

/// Takes ownership of what a system call has opened.
unsafe fn owned(fd: libc::c_int) -> io::Result<OwnedFd> {
    check(fd)?;
    // SAFETY: a descriptor just opened, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}
