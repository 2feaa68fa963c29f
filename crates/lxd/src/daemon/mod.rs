//! The daemon from its start to its end: state directory, log, listeners, signals.

pub(crate) mod directory;
pub(crate) mod log;
pub(crate) mod sockets;
pub(crate) mod stop;
pub(crate) mod users;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lxd_core::events::Hub;
use lxd_core::operations::{FaultPoint, Faults};
use lxd_core::paths::Paths;
use lxd_core::{App, StartOptions, instances, networks};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;

use crate::devlxd;
use crate::http::listener::{Follower, HTTPS_ADDRESS, Listeners};
use crate::http::service::Edge;
use crate::http::tls::{self, TlsError};
use stop::{How, Stop};

/// How long requests may go on after the end of the listeners.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// How long operations may go on after SIGTERM.
const LAST_OPERATIONS: Duration = Duration::from_secs(5);

/// How long operations may go on after `lxd shutdown` and SIGPWR, before instances are stopped.
const PATIENCE: Duration = Duration::from_mins(5);

/// The stack of each thread, in bytes. The deepest calls are those of the JSON and YAML parsers, which limit depth.
const STACK: usize = 1 << 20;

/// How the daemon is started.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// The state directory.
    pub(crate) dir: PathBuf,
    /// The group that may use the unix socket.
    pub(crate) group: Option<String>,
    /// Where the log goes.
    pub(crate) log: log::Options,
}

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The state directory can't be used.
    #[error(transparent)]
    Directory(#[from] directory::DirectoryError),
    /// The log can't be written.
    #[error(transparent)]
    Log(#[from] log::LogError),
    /// The unix socket can't be made.
    #[error(transparent)]
    Socket(#[from] sockets::SocketError),
    /// The server certificate can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The threads or signal handlers can't be set up.
    #[error("Failed to set up threads and signals")]
    Runtime(#[source] io::Error),
    /// Everything below: databases, recovery.
    #[error("{}", .0.text())]
    App(lxd_core::Error),
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// Why it did not start.
pub(crate) fn run(options: &Options) -> Result<(), StartError> {
    lxd_sys::memory::share_arenas(2);
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    raise_file_limit();
    let events = Hub::new();
    log::start(&options.log, &events)?;
    let result = runtime().and_then(|runtime| {
        let result = runtime.block_on(live(options, events));
        runtime.shutdown_timeout(LAST_REQUESTS);
        result
    });
    if let Err(error) = &result {
        tracing::error!(
            err = crate::command_line::chain(error),
            "Failed to start the daemon"
        );
    }
    result
}

fn runtime() -> Result<tokio::runtime::Runtime, StartError> {
    let cpus = std::thread::available_parallelism().map_or(2, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cpus.clamp(2, 8))
        .thread_stack_size(STACK)
        .thread_name("lxd")
        .enable_all()
        .build()
        .map_err(StartError::Runtime)
}

/// Instances, listeners and databases need many files: takes all that may be had, 1048576 where that may be raised.
fn raise_file_limit() {
    let wanted = 1 << 20;
    let old = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: Some(wanted),
        maximum: Some(old.maximum.unwrap_or(wanted).max(wanted)),
    };
    if setrlimit(Resource::Nofile, raised).is_err() {
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: old.maximum,
                maximum: old.maximum,
            },
        );
    }
}

async fn live(options: &Options, events: Arc<Hub>) -> Result<(), StartError> {
    let stop = Stop::on_signals().map_err(StartError::Runtime)?;
    let paths = Paths::new(&options.dir);
    let claim = directory::claim(&paths).await?;
    tracing::info!(
        mode = "normal",
        path = %options.dir.display(),
        version = env!("CARGO_PKG_VERSION"),
        "LXD is starting"
    );
    let start = StartOptions {
        dir: options.dir.clone(),
        events,
        faults: faults(),
    };
    let is_new_mount = instances::boot::share_mounts(&paths).map_err(StartError::App)?;
    let app = App::start(start).await.map_err(|error| {
        if is_new_mount {
            instances::boot::unshare(&paths);
        }
        StartError::App(error)
    })?;
    let socket = sockets::listen(&paths, options.group.as_deref());
    let served = match socket {
        Ok(socket) => serve(&app, &stop, socket).await,
        Err(error) => Err(error.into()),
    };
    app.stop(LAST_OPERATIONS).await;
    instances::boot::unshare_mounts(&app);
    claim.release(&paths);
    served
}

/// Where a test wants the daemon to die: `LXD_TEST_KILL_AT=KIND:STEP:before`.
fn faults() -> Faults {
    let point = std::env::var("LXD_TEST_KILL_AT").ok();
    let point = point.and_then(|text| text.parse::<FaultPoint>().ok());
    point.map(Faults::kill_at).unwrap_or_default()
}

/// Serves until the daemon is told to stop, and then ends what it serves.
async fn serve(app: &Arc<App>, stop: &Arc<Stop>, socket: sockets::Local) -> Result<(), StartError> {
    let certificate = app.server_certificate();
    let tls = tls::config(
        certificate.certificate_pem.as_bytes(),
        certificate.key_pem.as_bytes(),
    )?;
    let listeners = Listeners::new(Edge::new(Arc::clone(app), Arc::clone(stop)), tls);
    let is_inherited = socket.is_inherited;
    if let Err(error) = devlxd::serve(app) {
        tracing::error!(err = %error, "Failed to listen for instances");
    }
    listeners.serve_unix(socket.listener);
    app.config
        .on_change(&[HTTPS_ADDRESS], Arc::new(Follower(Arc::clone(&listeners))));
    if let Err(error) = listeners.serve_https(&app.config.get(HTTPS_ADDRESS)).await {
        tracing::error!(err = %error, "Failed to listen on the network");
    }
    stop.set_ready();
    notify(&[NotifyState::Ready]);
    tracing::info!("Daemon started");

    let how = stop.wanted().await;
    notify(&[NotifyState::Stopping]);
    tracing::info!(?how, "Stopping");
    let patience = match how {
        How::LeaveInstances => LAST_OPERATIONS,
        How::StopInstances { force: true } => Duration::ZERO,
        How::StopInstances { force: false } => PATIENCE,
    };
    app.operations.stop(patience).await;
    if matches!(how, How::StopInstances { .. }) {
        instances::boot::shut_down(app).await;
        networks::stop_all(app).await;
    }
    stop.set_finished();
    listeners.close(LAST_REQUESTS).await;
    if !is_inherited {
        let _ = std::fs::remove_file(app.paths.socket());
    }
    Ok(())
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(err = %error, "Failed to notify systemd");
    }
}
