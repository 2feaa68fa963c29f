//! What can go wrong with an instance.

use std::fmt;
use std::io;
use std::path::PathBuf;

use lxd_model::{ErrorKind, Invalid};
use lxd_sys::cgroup;
use rustix::io::Errno;

use crate::instance::Key;
use crate::lifecycle::Refusal;
use crate::ports::PortError;

/// What went wrong, with the instance and the paths.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The instance's phase does not allow it.
    #[error("{0}")]
    Refused(Refusal),
    /// A value of its configuration makes no sense.
    #[error("{0}")]
    Invalid(Invalid),
    /// It did not shut down in time and goes on running.
    #[error("Failed shutting down instance, status is \"{status}\": shutting down the container failed")]
    ShutdownTimeout {
        /// The status it has now.
        status: &'static str,
    },
    /// liblxc did not start it.
    #[error("Failed to run: {command}: exit status 1{}", after_colon(.reason))]
    Start {
        /// The helper's command line.
        command: String,
        /// What liblxc wrote into its log.
        reason: String,
    },
    /// CRIU did not save what runs.
    #[error("snapshot dump failed{}", after_line(.0))]
    Dump(String),
    /// CRIU did not bring back what was saved.
    #[error("Migrate: Failed to run: {command}: exit status 1{}", after_line(.reason))]
    Restore {
        /// The helper's command line.
        command: String,
        /// What CRIU wrote into its log.
        reason: String,
    },
    /// A control group controller that a key needs is not there.
    #[error("Cannot apply limits: the {controller} cgroup controller is missing")]
    MissingController {
        /// The controller.
        controller: &'static str,
    },
    /// A device can't be used.
    #[error("Failed to {action} device {device:?}")]
    Device {
        /// `start`, `stop` or `update`.
        action: &'static str,
        /// The device's name.
        device: String,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// What a start finds wrong with a device before it does anything for it.
    #[error("Failed start validation for device {device:?}")]
    DeviceValidation {
        /// The device's name.
        device: String,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// What a disk is to show is not there.
    #[error("{0}")]
    MissingSource(String),
    /// A device's value makes no sense.
    #[error("{0}")]
    DeviceValue(String),
    /// Storage or network refused, for their own reason.
    #[error(transparent)]
    Port(PortError),
    /// A tree of files.
    #[error(transparent)]
    Path(lxd_sys::path::PathError),
    /// A mount.
    #[error(transparent)]
    Mount(lxd_sys::mount::MountError),
    /// A user namespace for a mount.
    #[error(transparent)]
    Userns(lxd_sys::userns::UsernsError),
    /// The root volume could not be made ready, or put away.
    #[error("Failed to {action} the root volume of instance \"{key}\"")]
    Storage {
        /// `mount` or `unmount`.
        action: &'static str,
        /// The instance.
        key: Key,
        /// The storage's reason.
        #[source]
        source: PortError,
    },
    /// A file of the instance.
    #[error("Failed to {action} {}", path.display())]
    File {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// A process of the instance.
    #[error("Failed to {action} instance \"{key}\"")]
    Process {
        /// What was being done.
        action: &'static str,
        /// The instance.
        key: Key,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// Its network namespace.
    #[error("Failed to read the network cards of instance \"{key}\"")]
    Netlink {
        /// The instance.
        key: Key,
        /// What the kernel answered.
        #[source]
        source: lxd_sys::netlink::Error,
    },
    /// A network card on the host.
    #[error(transparent)]
    Card(lxd_sys::netlink::Error),
    /// A control group.
    #[error("Failed to {action} instance \"{key}\"")]
    Cgroup {
        /// What was being done.
        action: &'static str,
        /// The instance.
        key: Key,
        /// What the kernel answered.
        #[source]
        source: cgroup::Error,
    },
    /// The helper program could not be run.
    #[error("Failed to run the helper program")]
    Helper(#[source] lxd_sys::command::Error),
    /// The helper program did not answer as it should.
    #[error("Failed to talk to the helper program: {0}")]
    Protocol(String),
    /// The helper program could not change what a guest sees.
    #[error("{0}")]
    Inside(String),
    /// Nothing was executed inside.
    #[error("{0}")]
    Exec(String),
    /// It has stopped, but not everything could be put away.
    #[error("{0}")]
    TearDown(TearDown),
    /// The type of instance has no driver here.
    #[error("Instance type not operational: no driver for {0}")]
    NoDriver(&'static str),
    /// The kernel refused something about a file inside. The texts are those of the reference's SFTP server.
    #[error("{}", file_text(*.errno, .doing))]
    FileRefused {
        /// What was being done, with the path.
        doing: String,
        /// The error number.
        errno: i32,
    },
    /// The task that owns the instance has ended.
    #[error("The instance \"{0}\" is being put away")]
    Gone(Key),
}

/// Everything that could not be put away.
#[derive(Debug)]
pub struct TearDown(pub Vec<Error>);

impl fmt::Display for TearDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Failed to put away all of a stopped instance: ")?;
        for (index, error) in self.0.iter().enumerate() {
            f.write_str(if index > 0 { "; " } else { "" })?;
            f.write_str(&chain(error))?;
        }
        Ok(())
    }
}

impl Error {
    /// The kind of failure, for whoever answers the caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(_) | Self::DeviceValue(_) | Self::MissingSource(_) | Self::Exec(_) => {
                ErrorKind::BadRequest
            }
            Self::Invalid(invalid) => invalid.kind(),
            Self::Port(source) | Self::Storage { source, .. } => source.kind,
            Self::Device { source, .. } | Self::DeviceValidation { source, .. } => source.kind(),
            Self::NoDriver(_) => ErrorKind::NotImplemented,
            Self::Gone(_) => ErrorKind::Unavailable,
            Self::FileRefused { errno, .. } => match Errno::from_raw_os_error(*errno) {
                Errno::NOENT => ErrorKind::NotFound,
                Errno::ACCESS | Errno::PERM => ErrorKind::Forbidden,
                _ => ErrorKind::Internal,
            },
            _ => ErrorKind::Internal,
        }
    }

    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

/// An error with all its reasons.
pub(crate) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(below) = source {
        text.push_str(": ");
        text.push_str(&below.to_string());
        source = below.source();
    }
    text
}

fn after_colon(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    }
}

fn after_line(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("\n{text}")
    }
}

fn file_text(errno: i32, doing: &str) -> String {
    match Errno::from_raw_os_error(errno) {
        Errno::NOENT => "Not Found".to_owned(),
        Errno::ACCESS | Errno::PERM => "Forbidden".to_owned(),
        errno => {
            let text = io::Error::from(errno).to_string();
            let text = text.split(" (os error").next().unwrap_or_default().to_lowercase();
            format!("sftp: \"{doing}: {text}\" (SSH_FX_FAILURE)")
        }
    }
}
