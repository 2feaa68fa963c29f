//! The daemon's wiring, in one place: what exists once, how it starts and stops.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lxd_db::cluster::{Cluster, Options as ClusterOptions};
use lxd_db::node::Node;
use lxd_network::Networks;
use lxd_storage::Pools;
use parking_lot::RwLock;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::certificates::{ServerCertificate, TrustList};
use crate::clock::Clock;
use crate::error::{Context as _, Error, Result};
use crate::events::Hub;
use crate::images::Locks;
use crate::instances;
use crate::operations::{self, Faults, Journal, Operations, Works};
use crate::paths::Paths;
use crate::profiles::ProfileUsers;
use crate::server::ServerConfig;
use crate::server::facts::Facts;
use crate::{startup, warnings};

/// What the daemon is started with.
pub struct StartOptions {
    /// The state directory (`LXD_DIR`).
    pub dir: PathBuf,
    /// The hub that the log already feeds.
    pub events: Arc<Hub>,
    /// Faults on purpose, for tests.
    pub faults: Faults,
}

/// The daemon. There is one, behind an `Arc`.
pub struct App {
    /// Every path under the state directory.
    pub paths: Paths,
    /// What time it is.
    pub clock: Clock,
    /// What is true of this machine.
    pub facts: Facts,
    /// This member's database.
    pub node: Node,
    /// The database that all members share.
    pub cluster: Cluster,
    /// The events stream.
    pub events: Arc<Hub>,
    /// Background work.
    pub operations: Arc<Operations>,
    /// The record of works with steps.
    pub journal: Arc<dyn Journal>,
    /// The kinds of works that can be taken up again.
    pub works: Works,
    /// Faults on purpose.
    pub faults: Faults,
    /// The server's configuration, and who wants to hear of its changes.
    pub config: ServerConfig,
    /// The server's certificate; replaced as a whole.
    pub certificate: RwLock<Arc<ServerCertificate>>,
    /// Who is trusted, as the database says.
    pub trust: TrustList,
    /// The storage pools that are mounted.
    pub pools: Pools,
    /// Who may touch the files of which image.
    pub images: Locks,
    /// Who fetches which image from another server.
    pub downloads: Locks,
    /// The drivers of managed networks.
    pub networks: Networks,
    /// What cards get from networks that are presets.
    pub presets: crate::networks::Presets,
    /// The instances that run.
    pub instances: instances::Runtime,
    /// Who must follow when a profile changes.
    pub profile_users: RwLock<Option<Arc<dyn ProfileUsers>>>,
    /// Ends when the daemon stops.
    pub shutdown: CancellationToken,
}

/// Every noun's works: `instances::works(&mut works)` and so on.
pub fn works() -> Works {
    let mut works = Works::default();
    crate::instances::works(&mut works);
    crate::images::works(&mut works);
    crate::networks::works(&mut works);
    crate::storage_pools::works(&mut works);
    crate::storage_volumes::works(&mut works);
    #[cfg(test)]
    operations::tests::works(&mut works);
    works
}

impl App {
    /// Starts everything but the listeners: directories; databases, certificate and facts side by side; pools; recovery of
    /// what was left half done, which needs the pools; networks.
    ///
    /// # Errors
    /// What could not be started.
    pub async fn start(options: StartOptions) -> Result<Arc<Self>> {
        let started = Timestamp::now();
        let paths = Paths::new(options.dir);
        let made = paths.clone();
        blocking(move || {
            crate::reserve::give_up(&made);
            make_directories(&made)
        })
        .await?;
        let (facts, node, cluster, certificate) = tokio::try_join!(
            gather(&paths),
            open_node(&paths),
            open_cluster(&paths),
            load_certificate(&paths),
        )?;
        let (config, trust) =
            tokio::try_join!(ServerConfig::load(&node, &cluster), TrustList::load(&cluster))?;
        let journal: Arc<dyn Journal> = Arc::new(node.clone());
        let pools = Pools::new(paths.root().to_owned());
        let networks = Networks::new(lxd_network::Settings {
            root: paths.root().to_owned(),
            location: "none".into(),
            seed: certificate.fingerprint.clone(),
            debug: tracing::enabled!(target: "lxd_network", tracing::Level::DEBUG),
        });
        let instances = instances::Runtime::new(&paths)?;
        let app = Arc::new(Self {
            paths,
            clock: Clock::system(),
            facts,
            node,
            cluster,
            operations: Operations::new(Arc::clone(&options.events), Arc::clone(&journal)),
            events: options.events,
            journal,
            works: works(),
            faults: options.faults,
            config,
            certificate: RwLock::new(Arc::new(certificate)),
            trust,
            pools,
            images: Locks::default(),
            downloads: Locks::default(),
            networks,
            presets: crate::networks::Presets::default(),
            instances,
            profile_users: RwLock::default(),
            shutdown: CancellationToken::new(),
        });
        warnings::look(&app).await?;
        startup::open_pools(&app).await?;
        // Folders of the daemon's may be links into pools.
        let made = app.paths.clone();
        blocking(move || make_directories(&made)).await?;
        crate::storage_volumes::daemon::follow(&app);
        crate::images::clean(&app).await?;
        crate::networks::reload_presets(&app).await?;
        instances::boot::adopt(&app).await?;
        operations::recover(&app).await?;
        crate::networks::reload_presets(&app).await?;
        startup::start_networks(&app).await?;
        instances::boot::resume(&app).await?;
        warnings::settle(&app, started).await?;
        crate::reserve::spawn(&app);
        warnings::spawn(&app);
        crate::images::spawn(&app);
        Ok(app)
    }

    /// Ends everything: no new operations, the running ones finish or (after the given time) are cancelled, the
    /// databases are written out.
    pub async fn stop(&self, patience: Duration) {
        self.operations.stop(patience).await;
        self.shutdown.cancel();
        self.pools.settle().await;
        if let Err(error) = self.cluster.close().await {
            tracing::error!(err = error.chain(), "Failed closing the cluster database");
        }
    }

    /// The name of this server: the cluster member's, or the host's when it is alone.
    pub fn server_name(&self) -> &str {
        &self.facts.host_name
    }

    /// The server's certificate as it is now.
    pub fn server_certificate(&self) -> Arc<ServerCertificate> {
        Arc::clone(&self.certificate.read())
    }
}

async fn gather(paths: &Paths) -> Result<Facts> {
    let root = paths.root().to_owned();
    blocking(move || Ok(Facts::gather(&root))).await
}

async fn open_node(paths: &Paths) -> Result<Node> {
    Node::open(&paths.database())
        .await
        .context("Failed opening the node database")
}

async fn open_cluster(paths: &Paths) -> Result<Cluster> {
    let extensions = i64::try_from(lxd_api::extensions::EXTENSIONS.len()).unwrap_or(i64::MAX);
    let options = ClusterOptions::standalone(paths.database(), extensions);
    Cluster::open(options)
        .await
        .context("Failed opening the cluster database")
}

async fn load_certificate(paths: &Paths) -> Result<ServerCertificate> {
    let paths = paths.clone();
    blocking(move || {
        let host_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        ServerCertificate::load_or_make(&paths, &host_name)
    })
    .await
}

/// Runs what may wait for the disk where it holds nobody up.
pub(crate) async fn blocking<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Error::internal("A blocking call died").because(error)))
}

/// Makes what is missing, and sets the modes that instances and the group rely on.
fn make_directories(paths: &Paths) -> Result<()> {
    for (path, mode) in paths.directories() {
        // What leads into a pool that is not mounted yet is looked after later.
        if leads_nowhere(paths.root(), &path) {
            continue;
        }
        make_directory(&path, mode)
            .map_err(|error| Error::internal(format!("Failed making {}", path.display())).because(error))?;
    }
    Ok(())
}

/// Whether the folder of the daemon's that a path is in, or is, is a link to what is not there.
fn leads_nowhere(root: &Path, path: &Path) -> bool {
    let first = path.strip_prefix(root).ok().and_then(|below| below.iter().next());
    let top = first.map(|first| root.join(first));
    top.is_some_and(|top| top.is_symlink() && !top.exists())
}

fn make_directory(path: &Path, mode: u32) -> std::io::Result<()> {
    if !path.is_dir() {
        fs::create_dir_all(path)?;
    }
    let present = fs::metadata(path)?.permissions().mode() & 0o7777;
    if present != mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}
