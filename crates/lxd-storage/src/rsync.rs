//! rsync, by which servers send each other directories: one process on either side, with a stream between them.

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use lxd_sys::command::{Child, Command, Exit, Stream};
use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::drivers::View;
use crate::error::StorageError;
use crate::pool::{Access, MEMBERS};

/// What both sides have agreed on. The options of both processes must be the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RsyncFeatures {
    /// Extended attributes come along.
    pub xattrs: bool,
    /// What the sender does not have goes.
    pub delete: bool,
    /// The stream is compressed.
    pub compress: bool,
    /// Hard links stay such, and access lists come along. LXD does neither.
    pub exact: bool,
}

/// A process on one side of a transfer.
#[derive(Debug)]
pub struct Rsync {
    child: Child,
    /// Keeps what is sent.
    _view: Option<View>,
    /// Keeps what is written.
    _access: Option<Access>,
    /// What the other side says goes here.
    input: Option<OwnedFd>,
    /// What the other side is to hear.
    output: Option<OwnedFd>,
    complaints: Option<OwnedFd>,
}

/// The number that the directory has in the process.
const DIRECTORY: i32 = 5;

/// The exit code for files that went away while they were sent.
const VANISHED: i32 = 24;

/// What takes the place of a remote shell: the stream instead of a host. Its arguments are ignored. It ends when the other side has
/// said all, which rsync waits for before it ends itself.
const SHELL: &str = "sh -c 'exec 6<&0; cat <&6 >&4 3<&- & exec cat <&3 4>&- 6<&-'";

impl Rsync {
    /// Starts to send all that is in a directory, with at most so many bytes in a second (as rsync's option has it).
    ///
    /// # Errors
    /// rsync is not installed; the directory can't be opened.
    pub fn send(view: View, features: RsyncFeatures, limit: &str) -> Result<Self, StorageError> {
        let place = Place::open(view.rootfs())?;
        Self::sender(view, place, features, limit)
    }

    /// The same for the volume of an instance. Where its root is not in its directory, there is a namespace in which it is.
    pub(crate) fn send_instance(
        view: View,
        namespace: Option<OwnedFd>,
        (features, limit): (RsyncFeatures, &str),
    ) -> Result<Self, StorageError> {
        let place = match namespace {
            None => Place::open(view.directory())?,
            Some(namespace) => Place::Within(namespace, view.directory().to_path_buf()),
        };
        Self::sender(view, place, features, limit)
    }

    fn sender(view: View, place: Place, features: RsyncFeatures, limit: &str) -> Result<Self, StorageError> {
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|e| failed(view.rootfs(), e.into()));
        let ((their_input, input), (output, their_output)) = (pipe()?, pipe()?);
        let mut command = Command::new("rsync")
            .arg("-ar")
            .args(options(features))
            .args((!limit.is_empty() && limit != "0").then(|| format!("--bwlimit={limit}")));
        if let Place::Within(..) = place {
            // The driver's own things are nobody else's.
            command = command.args(MEMBERS.map(|member| format!("--filter=+ /{member}")));
            command = command.arg("--filter=- /*");
        }
        let (command, place) = place.enter(command);
        let mut child = command
            .args([&place, "localhost:/", "-e", SHELL])
            .fd(their_input, 3)
            .fd(their_output, 4)
            .stderr(Stream::Pipe)
            .spawn()?;
        child.kill_on_drop(true);
        Ok(Self {
            complaints: child.take_stderr(),
            child,
            _view: Some(view),
            _access: None,
            input: Some(input),
            output: Some(output),
        })
    }

    /// Starts to make a directory what the other side sends.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn receive(directory: &Path, features: RsyncFeatures) -> Result<Self, StorageError> {
        Self::receiver(Place::open(directory)?, features, &[])
    }

    /// The same for the volume of an instance, in a namespace in which nothing else can be written to.
    pub(crate) fn receive_instance(
        access: Access,
        namespace: OwnedFd,
        features: RsyncFeatures,
    ) -> Result<Self, StorageError> {
        let place = Place::Within(namespace, access.directory());
        // What the other side does not have there is the driver's.
        let mut receiver = Self::receiver(place, features, &["--filter=P /*"])?;
        receiver._access = Some(access);
        Ok(receiver)
    }

    fn receiver(place: Place, features: RsyncFeatures, more: &[&str]) -> Result<Self, StorageError> {
        let command = Command::new("rsync")
            .args(["--server", "-vlogDtpre.iLsfx"])
            // A second is long: files that are as large as before and were written within one differ by less.
            .arg("--modify-window=-1")
            .args(options(features))
            .args(more);
        let (command, place) = place.enter(command);
        let mut child = command
            .args([".", &place])
            .stdin(Stream::Pipe)
            .stdout(Stream::Pipe)
            .stderr(Stream::Pipe)
            .spawn()?;
        child.kill_on_drop(true);
        Ok(Self {
            input: child.take_stdin(),
            output: child.take_stdout(),
            complaints: child.take_stderr(),
            child,
            _view: None,
            _access: None,
        })
    }

    /// The ends of the stream: for what the other side says, for what it is to hear, and what is wrong. Each once.
    pub fn ends(&mut self) -> Option<(OwnedFd, OwnedFd, OwnedFd)> {
        Some((self.input.take()?, self.output.take()?, self.complaints.take()?))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It failed; the text is what it said.
    pub async fn finish(mut self, complaints: &str) -> Result<(), StorageError> {
        match self.child.wait().await {
            Ok(Exit::Code(0 | VANISHED)) => Ok(()),
            Ok(Exit::Code(code)) => Err(StorageError::refused(format!(
                "Rsync failed: exit status {code} ({})",
                complaints.trim()
            ))),
            Ok(Exit::Signal(signal)) => Err(StorageError::refused(format!(
                "Rsync was ended by signal {signal}"
            ))),
            Err(source) => Err(StorageError::io("waiting for", Path::new("rsync"), source)),
        }
    }
}

/// How a process finds its directory.
enum Place {
    /// It gets it open.
    Open(OwnedFd),
    /// By its path in a mount namespace.
    Within(OwnedFd, PathBuf),
}

impl Place {
    fn open(directory: &Path) -> Result<Self, StorageError> {
        open(directory).map(Self::Open)
    }

    /// Lets the process be where it finds it, and gives what it is called there.
    fn enter(self, command: Command) -> (Command, String) {
        match self {
            Self::Open(directory) => {
                let name = format!("/proc/self/fd/{DIRECTORY}/");
                (command.fd(directory, DIRECTORY), name)
            }
            Self::Within(namespace, path) => (command.namespace(namespace), format!("{}/", path.display())),
        }
    }
}

fn options(features: RsyncFeatures) -> Vec<&'static str> {
    let mut options = vec!["--numeric-ids", "--devices", "--partial", "--sparse"];
    if features.xattrs {
        options.extend(["--xattrs", "--filter=-x security.selinux"]);
    }
    if features.exact {
        options.extend(["--hard-links", "--acls"]);
    }
    if features.delete {
        options.push("--delete");
    }
    if features.compress {
        options.extend(["--compress", "--compress-level=2"]);
    }
    options
}

fn open(directory: &Path) -> Result<OwnedFd, StorageError> {
    let flags = OFlags::DIRECTORY.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(directory);
    Ok(opened.map_err(|e| failed(directory, e))?.into())
}

fn failed(path: &Path, source: std::io::Error) -> StorageError {
    StorageError::io("opening for rsync", path, source)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    const ACL: &str = "system.posix_acl_default";

    /// Version 2: the owner, the user 1000, the group, the mask and others.
    const LIST: &[u8] =
        b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x02\0\x05\0\xe8\x03\0\0\x04\0\x05\0\xff\xff\xff\xff\
                          \x10\0\x05\0\xff\xff\xff\xff\x20\0\x05\0\xff\xff\xff\xff";

    fn set(path: &Path, name: &str, value: &[u8]) {
        rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
    }

    fn get(path: &Path, name: &str) -> Vec<u8> {
        let mut value = vec![0; 256];
        let length = rustix::fs::getxattr(path, name, value.as_mut_slice()).unwrap();
        value.truncate(length);
        value
    }

    /// Carries a stream from one to the other.
    pub(crate) fn pump(from: OwnedFd, to: OwnedFd) -> std::thread::JoinHandle<()> {
        std::thread::spawn(move || {
            let (mut from, mut to) = (std::fs::File::from(from), std::fs::File::from(to));
            let mut buffer = [0; 65536];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                if to.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
        })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn two_processes_make_one_directory_like_another() {
        let scratch = tempfile::tempdir().unwrap();
        let (from, to) = (scratch.path().join("a"), scratch.path().join("b"));
        std::fs::create_dir_all(from.join("rootfs/sub")).unwrap();
        std::fs::create_dir(&to).unwrap();
        std::fs::write(from.join("rootfs/sub/f"), vec![7; 300_000]).unwrap();
        std::fs::hard_link(from.join("rootfs/sub/f"), from.join("rootfs/g")).unwrap();
        set(&from.join("rootfs"), "user.top", b"x");
        set(&from.join("rootfs"), ACL, LIST);
        std::fs::write(to.join("surplus"), "x").unwrap();
        let features = RsyncFeatures {
            xattrs: true,
            delete: true,
            compress: true,
            exact: true,
        };
        let mut sender = Rsync::send(View::plain(from), features, "").unwrap();
        let mut receiver = Rsync::receive(&to, features).unwrap();
        let (sender_in, sender_out, _quiet) = sender.ends().unwrap();
        let (receiver_in, receiver_out, _silent) = receiver.ends().unwrap();
        let pumps = [pump(sender_out, receiver_in), pump(receiver_out, sender_in)];
        receiver.finish("").await.unwrap();
        sender.finish("").await.unwrap();
        pumps.into_iter().for_each(|pump| pump.join().unwrap());
        assert_eq!(std::fs::read(to.join("sub/f")).unwrap(), vec![7; 300_000]);
        assert!(!to.join("surplus").exists());
        let inode = |name: &str| std::fs::metadata(to.join(name)).unwrap().ino();
        assert_eq!(inode("g"), inode("sub/f"));
        // What the directory itself has comes along, too.
        assert_eq!(
            (get(&to, "user.top"), get(&to, ACL)),
            (b"x".to_vec(), LIST.to_vec())
        );
    }
}
