//! One member of a dqlite cluster, run by the C library inside this process.
#![allow(unsafe_code, reason = "owns the C library's node")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::UnixStream;

use crate::connection::{Connection, Member, is_not_leader};
use crate::error::Error;
use crate::ffi;

mod socket;

/// How long opening a database waits for the member to become leader.
const LEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Held while a node is made or destroyed: the library numbers its nodes and registers their file systems with SQLite
/// without a lock, so two at once crash the process.
static LIBRARY: Mutex<()> = Mutex::new(());

/// `RAFT_NOCONNECTION`, what the dial callback gives when it fails.
const NO_CONNECTION: c_int = 16;

/// Opens a blocking socket to the member at an address, within five seconds; called on the library's threads.
pub type Dial = Arc<dyn Fn(&str) -> io::Result<OwnedFd> + Send + Sync>;

/// What a member takes part in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Holds the data and votes.
    Voter,
    /// Holds the data without a vote.
    StandBy,
    /// Holds no data.
    Spare,
}

impl Role {
    /// The number on the wire.
    pub fn code(self) -> u64 {
        match self {
            Self::Voter => 0,
            Self::StandBy => 1,
            Self::Spare => 2,
        }
    }

    /// The role with this number; unknown ones count as spare, which promises nothing.
    pub fn from_code(code: u64) -> Self {
        match code {
            0 => Self::Voter,
            1 => Self::StandBy,
            _ => Self::Spare,
        }
    }
}

/// How often the node writes a snapshot of the whole database and how much of the log it keeps after that.
///
/// Both the entries since the last snapshot and the trailing ones are held in memory, a few pages each, and are
/// replayed at the next start. The library's own defaults (1024 and 8192) cost tens of megabytes and half a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotParams {
    /// Entries after which a snapshot is written.
    pub threshold: u32,
    /// Entries that are kept after a snapshot, for members which lag behind; not fewer than the threshold, or the
    /// library refuses.
    pub trailing: u32,
}

/// Chosen by measurement; see [`SnapshotParams`].
const STANDALONE: SnapshotParams = SnapshotParams {
    threshold: 64,
    trailing: 64,
};

/// What a node is started with.
#[derive(Clone)]
pub struct NodeConfig {
    /// Where the log and the snapshots are. It must exist.
    pub directory: PathBuf,
    /// The Raft id; 1 bootstraps an empty directory.
    pub id: u64,
    /// The address that other members know this one by.
    pub address: String,
    /// When to write snapshots.
    pub snapshot: SnapshotParams,
    /// The usual time a message takes between members; time-outs derive from it. `None`: the library's default.
    pub network_latency: Option<Duration>,
    /// Members in one domain are likely to fail together.
    pub failure_domain: u64,
    /// How other members are reached; none for a standalone node.
    pub dial: Option<Dial>,
}

impl NodeConfig {
    /// A node that is alone: id 1 and address `1`, which is what LXD itself uses before clustering.
    pub fn standalone(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            id: 1,
            address: "1".to_owned(),
            snapshot: STANDALONE,
            network_latency: None,
            failure_domain: 0,
            dial: None,
        }
    }
}

impl std::fmt::Debug for NodeConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeConfig")
            .field("directory", &self.directory)
            .field("id", &self.id)
            .field("address", &self.address)
            .field("snapshot", &self.snapshot)
            .finish_non_exhaustive()
    }
}

/// A running node. Dropping it stops it; [`Node::stop`] does so without blocking the runtime.
#[derive(Debug)]
pub struct Node {
    raw: Raw,
    /// The socket's abstract name, without the `@` that stands for its leading NUL byte.
    socket: String,
}

impl Node {
    /// Starts a node; returns once it has loaded its data.
    ///
    /// # Errors
    /// [`Error::Node`] with the library's words: a directory that is missing, in use or damaged.
    pub async fn start(config: NodeConfig) -> Result<Self, Error> {
        tokio::task::spawn_blocking(move || Self::start_blocking(&config)).await?
    }

    fn start_blocking(config: &NodeConfig) -> Result<Self, Error> {
        let raw = Raw::create(config)?;
        let socket = socket::free_name();
        raw.bind(&format!("@{socket}"))?;
        raw.check("start", raw.start())?;
        Ok(Self { raw, socket })
    }

    /// A new connection with `database` opened on it; waits up to ten seconds for this node to lead.
    ///
    /// # Errors
    /// [`Error::Connect`] when the socket is gone, [`Error::Engine`] when the node refuses.
    pub async fn connect(&self, database: &str) -> Result<Connection, Error> {
        let deadline = Instant::now() + LEADER_TIMEOUT;
        loop {
            match Connection::open(self.stream()?, database).await {
                Err(error) if is_not_leader(&error) && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                result => return result,
            }
        }
    }

    /// A connection to this node without a database, for requests about the cluster.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn greet(&self) -> Result<Connection, Error> {
        Connection::greet(self.stream()?).await
    }

    fn stream(&self) -> Result<UnixStream, Error> {
        let connected = socket::connect(&self.socket).and_then(UnixStream::from_std);
        connected.map_err(|source| Error::Connect {
            address: format!("@{}", self.socket),
            source,
        })
    }

    /// Stops the node: ends its connections, flushes its log and joins its threads.
    ///
    /// # Errors
    /// [`Error::Node`] when the library reports a failure; the node is gone all the same.
    pub async fn stop(self) -> Result<(), Error> {
        tokio::task::spawn_blocking(move || {
            let mut raw = self.raw;
            let stopped = raw.stop();
            raw.check("stop", stopped)
        })
        .await?
    }

    /// Rewrites the configuration of a stopped node's directory, such as when its address changes.
    ///
    /// # Errors
    /// [`Error::Node`] with the library's words.
    pub async fn recover(config: NodeConfig, members: Vec<Member>) -> Result<(), Error> {
        tokio::task::spawn_blocking(move || Raw::create(&config)?.recover(&members)).await?
    }
}

/// The version of libdqlite that is loaded, such as `1.11.1`.
pub fn library_version() -> String {
    // SAFETY: a pure function.
    let number = unsafe { ffi::dqlite_version_number() };
    format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100)
}

/// A Raft id made from an address and the time, as the library does for new members.
///
/// # Errors
/// [`Error::Nul`] for an address with a NUL byte.
pub fn generate_id(address: &str) -> Result<u64, Error> {
    let address = c_string(address)?;
    // SAFETY: the string lives for the call.
    Ok(unsafe { ffi::dqlite_generate_node_id(address.as_ptr()) })
}

/// The library's node, and what must outlive it.
#[derive(Debug)]
struct Raw {
    pointer: NonNull<ffi::DqliteNode>,
    directory: PathBuf,
    running: std::sync::atomic::AtomicBool,
    /// The argument of the dial callback, made by `Box::into_raw`.
    dial: Option<NonNull<Dial>>,
}

// SAFETY: the library's functions on one node may be called from any thread, one at a time; `&Raw` only gives access
// to `start` and the setters, which are called before the node is shared, and to the read-only messages.
unsafe impl Send for Raw {}
// SAFETY: as above.
unsafe impl Sync for Raw {}

impl Raw {
    fn create(config: &NodeConfig) -> Result<Self, Error> {
        // The library leaves a dangling file system registered with SQLite when it fails here, so what can be known
        // beforehand is not left to it.
        std::fs::read_dir(&config.directory).map_err(|error| Error::Node {
            action: "create",
            directory: config.directory.clone(),
            message: error.to_string(),
        })?;
        let address = c_string(&config.address)?;
        let directory = c_string(&config.directory.to_string_lossy())?;
        let mut pointer = std::ptr::null_mut();
        let guard = LIBRARY.lock();
        // SAFETY: both strings live for the call, the library copies them; `pointer` is a valid place to write to.
        let result =
            unsafe { ffi::dqlite_node_create(config.id, address.as_ptr(), directory.as_ptr(), &mut pointer) };
        drop(guard);
        let pointer = NonNull::new(pointer).ok_or_else(|| Error::Node {
            action: "create",
            directory: config.directory.clone(),
            message: format!("code {result}"),
        })?;
        let mut raw = Self {
            pointer,
            directory: config.directory.clone(),
            running: false.into(),
            dial: None,
        };
        if let Err(error) = raw.check("create", result) {
            // It has freed its parts already, all but the node itself: destroying it would free them twice.
            std::mem::forget(raw);
            return Err(error);
        }
        raw.configure(config)?;
        Ok(raw)
    }

    fn configure(&mut self, config: &NodeConfig) -> Result<(), Error> {
        let SnapshotParams { threshold, trailing } = config.snapshot;
        let node = self.pointer.as_ptr();
        // SAFETY: the node exists and does not run yet.
        let result = unsafe { ffi::dqlite_node_set_snapshot_params(node, threshold, trailing) };
        self.check("set the snapshot parameters of", result)?;
        // SAFETY: as above.
        let result = unsafe { ffi::dqlite_node_set_failure_domain(node, config.failure_domain) };
        self.check("set the failure domain of", result)?;
        if let Some(latency) = config.network_latency {
            let milliseconds = u32::try_from(latency.as_millis()).unwrap_or(u32::MAX);
            // SAFETY: as above.
            let result = unsafe { ffi::dqlite_node_set_network_latency_ms(node, milliseconds) };
            self.check("set the network latency of", result)?;
        }
        if let Some(dial) = &config.dial {
            let argument = NonNull::from(Box::leak(Box::new(dial.clone())));
            self.dial = Some(argument);
            // SAFETY: as above; the argument is freed only after the node is destroyed.
            let result =
                unsafe { ffi::dqlite_node_set_connect_func(node, dial_callback, argument.as_ptr().cast()) };
            self.check("set the dial function of", result)?;
        }
        Ok(())
    }

    /// Binds the node's socket to an abstract address (`@name`).
    fn bind(&self, address: &str) -> Result<(), Error> {
        let address = c_string(address)?;
        // SAFETY: the node exists and does not run yet; the string lives for the call.
        let result = unsafe { ffi::dqlite_node_set_bind_address(self.pointer.as_ptr(), address.as_ptr()) };
        self.check("bind the socket of", result)
    }

    fn start(&self) -> c_int {
        // SAFETY: the node exists and was not started before: only `start_blocking` calls this, once.
        let result = unsafe { ffi::dqlite_node_start(self.pointer.as_ptr()) };
        self.running
            .store(result == 0, std::sync::atomic::Ordering::Release);
        result
    }

    fn stop(&mut self) -> c_int {
        if !std::mem::take(self.running.get_mut()) {
            return 0;
        }
        // SAFETY: the node runs.
        unsafe { ffi::dqlite_node_stop(self.pointer.as_ptr()) }
    }

    fn recover(&self, members: &[Member]) -> Result<(), Error> {
        let addresses = members
            .iter()
            .map(|member| c_string(&member.address))
            .collect::<Result<Vec<_>, _>>()?;
        let mut infos: Vec<ffi::NodeInfoExt> = members
            .iter()
            .zip(&addresses)
            .map(|(member, address)| ffi::NodeInfoExt {
                size: size_of::<ffi::NodeInfoExt>() as u64,
                id: member.id,
                address: address.as_ptr() as u64,
                role: member.role.code(),
            })
            .collect();
        let count = c_int::try_from(infos.len()).unwrap_or(c_int::MAX);
        // SAFETY: `infos` holds `count` structures whose strings outlive the call.
        let result =
            unsafe { ffi::dqlite_node_recover_ext(self.pointer.as_ptr(), infos.as_mut_ptr(), count) };
        self.check("recover", result)
    }

    fn check(&self, action: &'static str, result: c_int) -> Result<(), Error> {
        if result == 0 {
            return Ok(());
        }
        // SAFETY: the node exists; its message is a string that stays valid until the next call on the node.
        let message = unsafe { CStr::from_ptr(ffi::dqlite_node_errmsg(self.pointer.as_ptr())) };
        let message = message.to_string_lossy();
        let message = if message.is_empty() {
            format!("code {result}")
        } else {
            message.into_owned()
        };
        Err(Error::Node {
            action,
            directory: self.directory.clone(),
            message,
        })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.stop();
        let _guard = LIBRARY.lock();
        // SAFETY: the node exists, does not run, and nothing uses it after this.
        unsafe { ffi::dqlite_node_destroy(self.pointer.as_ptr()) };
        if let Some(dial) = self.dial.take() {
            // SAFETY: made by Box::leak in `configure`; the node that could call it is gone.
            drop(unsafe { Box::from_raw(dial.as_ptr()) });
        }
    }
}

/// Runs the dial function; nothing may unwind into the C library.
extern "C" fn dial_callback(argument: *mut c_void, address: *const c_char, fd: *mut c_int) -> c_int {
    let dialed = std::panic::catch_unwind(|| {
        // SAFETY: `argument` is the `Dial` given in `configure`, which lives as long as the node.
        let dial = unsafe { &*argument.cast::<Dial>() };
        // SAFETY: the library gives a string that lives for the call.
        let address = unsafe { CStr::from_ptr(address) };
        dial(address.to_str().map_err(|_| io::ErrorKind::InvalidInput)?)
    });
    match dialed {
        Ok(Ok(socket)) => {
            // SAFETY: the library gives a valid place for the descriptor, and owns it from here on.
            unsafe { *fd = socket.into_raw_fd() };
            0
        }
        _ => NO_CONNECTION,
    }
}

fn c_string(text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error::Nul(text.to_owned()))
}

/// The data directory of a node, for messages.
impl AsRef<Path> for Node {
    fn as_ref(&self) -> &Path {
        &self.raw.directory
    }
}
