//! A root file system, a bridge and the ports, made for one test and gone after it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use lxd_instance::exec::{Ends, ExecRequest, Streams};
use lxd_instance::ports::{
    CustomVolume, Forward, Network, NicDevice, NicHost, PortResult, RootVolume, Storage,
};
use lxd_instance::{Event, Instance, InstancePaths, InstanceType, Instances, Key, Settings};
use lxd_sys::command::Command;
use lxd_sys::netlink::{Kind, NewLink, Socket};
use lxd_sys::process::Process;
use lxd_sys::userns::IdMap;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::UnboundedReceiver;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Everything that one test needs.
pub(crate) struct World {
    pub(crate) root: PathBuf,
    pub(crate) bridge: String,
    prefix: String,
    ports: Arc<TestPorts>,
    instances: Mutex<Vec<Instance>>,
    _folder: tempfile::TempDir,
}

/// Storage and network of a test: one folder, one bridge.
pub(crate) struct TestPorts {
    root: PathBuf,
    bridge: String,
    pub(crate) calls: Mutex<Vec<String>>,
}

impl World {
    /// Makes everything; the helper program is built first.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        // The container's root user walks down to its rootfs.
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["containers", "logs", "shmounts", "devices"] {
            std::fs::create_dir(root.join(name)).unwrap();
        }
        // As the daemon's state directory is: what is mounted there later reaches running containers.
        lxd_sys::mount::make_shared_mount(&root).unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("lxt{}x{number}", std::process::id());
        let bridge = prefix.clone();
        Socket::open()
            .unwrap()
            .add_link(&NewLink {
                up: true,
                ..NewLink::new(&bridge, Kind::Bridge)
            })
            .unwrap();
        let ports = TestPorts {
            root: root.clone(),
            bridge: bridge.clone(),
            calls: Mutex::default(),
        };
        let world = Self {
            root,
            bridge,
            prefix,
            ports: Arc::new(ports),
            instances: Mutex::default(),
            _folder: folder,
        };
        build_helper().await;
        world
    }

    /// A daemon's view of the instances.
    pub(crate) fn daemon(&self) -> (Instances, UnboundedReceiver<Event>) {
        let settings = Settings {
            helper: helper_path(),
            hook_socket: self.root.join("hooks.socket"),
            seccomp_socket: self.root.join("seccomp.socket"),
            devlxd: self.root.join("devlxd"),
            lxc_template: "/nonexistent".into(),
        };
        Instances::new(settings, self.ports.clone(), self.ports.clone()).unwrap()
    }

    /// An unprivileged instance with a root file system of busybox.
    pub(crate) async fn instance(&self, name: &str) -> Instance {
        let name = format!("{}{name}", self.prefix);
        let volume = self.root.join("containers").join(&name);
        make_rootfs(&volume.join("rootfs")).await;
        let instance = Instance {
            key: Key::new("default", &name),
            id: 1,
            kind: InstanceType::Container,
            architecture: std::env::consts::ARCH.into(),
            ephemeral: false,
            config: BTreeMap::new(),
            devices: BTreeMap::new(),
            paths: InstancePaths {
                logs: self.root.join("logs").join(&name),
                devices: self.root.join("devices").join(&name),
                shmounts: self.root.join("shmounts").join(&name),
                seccomp: self.root.join("security/seccomp").join(&name),
                containers: self.root.join("containers"),
                devlxd: self.root.join("devlxd"),
            },
            idmap: Some(IdMap::shifted(1_000_000, 65_536)),
        };
        self.instances.lock().push(instance.clone());
        instance
    }

    /// The same with a card on the bridge.
    pub(crate) async fn instance_with_nic(&self, name: &str) -> Instance {
        let mut instance = self.instance(name).await;
        let nic = [
            ("type", "nic"),
            ("nictype", "bridged"),
            ("parent", &self.bridge),
            ("name", "eth0"),
        ];
        let nic = nic
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        instance.devices.insert("eth0".into(), nic);
        instance
    }

    /// Waits until a daemon that was dropped no longer listens to hooks.
    pub(crate) async fn nobody_listens(&self) {
        let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
        soon("nobody listens", || {
            sender.connect(self.root.join("hooks.socket")).is_err()
        })
        .await;
    }

    /// What the ports were asked since the last time.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.ports.calls.lock())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Only a failed test leaves containers. They are known by their control groups.
        let cgroups = lxd_sys::cgroup::Cgroups::detect().unwrap();
        for instance in self.instances.lock().iter() {
            let name = instance.key.prefixed();
            for part in ["monitor", "payload"] {
                let group = cgroups.group(&format!("/lxc.{part}.{name}"));
                for pid in group.processes().unwrap_or_default() {
                    if let Ok(process) = Process::adopt(pid) {
                        let _ = process.kill();
                    }
                }
                let patience = Instant::now() + Duration::from_secs(5);
                while group.exists() && !group.remove().is_empty() && Instant::now() < patience {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        }
        let _ = Socket::open().unwrap().delete_link(&self.bridge);
        // The folder is removed with all that is in it: nothing of it may be somebody else's.
        let (_, left) = lxd_sys::mount::detach_beneath(&self.root);
        assert!(left.is_empty() || std::thread::panicking(), "{left:?}");
    }
}

impl Storage for TestPorts {
    fn mount_root<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, PortResult<RootVolume>> {
        self.calls.lock().push("mount".into());
        let rootfs = self
            .root
            .join("containers")
            .join(instance.key.prefixed())
            .join("rootfs");
        let volatile = vec![("volatile.last_state.idmap".to_owned(), "[]".to_owned())];
        Box::pin(async move {
            Ok(RootVolume {
                rootfs,
                needs_idmap: true,
                volatile,
            })
        })
    }

    fn unmount_root<'a>(&'a self, _instance: &'a Instance) -> BoxFuture<'a, PortResult<()>> {
        self.calls.lock().push("unmount".into());
        Box::pin(async { Ok(()) })
    }

    fn mount_volume<'a>(
        &'a self,
        _instance: &'a Instance,
        pool: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, PortResult<CustomVolume>> {
        self.calls.lock().push(format!("mount {pool}/{name}"));
        let path = self.root.join(pool).join(name);
        Box::pin(async move {
            Ok(CustomVolume {
                path,
                needs_idmap: true,
            })
        })
    }

    fn unmount_volume<'a>(
        &'a self,
        _instance: &'a Instance,
        pool: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, PortResult<()>> {
        self.calls.lock().push(format!("unmount {pool}/{name}"));
        Box::pin(async { Ok(()) })
    }
}

impl Network for TestPorts {
    fn prepare_nic<'a>(&'a self, nic: NicDevice<'a>) -> BoxFuture<'a, PortResult<NicHost>> {
        self.calls.lock().push(format!("prepare {}", nic.device));
        let parent = nic.instance.devices[nic.device].get("parent").cloned();
        Box::pin(async move {
            Ok(NicHost {
                master: parent.or(Some(self.bridge.clone())),
                mtu: Some(1400),
                ..NicHost::default()
            })
        })
    }

    fn nic_started<'a>(&'a self, nic: NicDevice<'a>) -> BoxFuture<'a, PortResult<()>> {
        self.calls
            .lock()
            .push(format!("started {} {}", nic.device, exists(nic.host_name)));
        Box::pin(async { Ok(()) })
    }

    fn nic_stopped<'a>(&'a self, nic: NicDevice<'a>) -> BoxFuture<'a, PortResult<()>> {
        self.calls.lock().push(format!("stopped {}", nic.device));
        Box::pin(async { Ok(()) })
    }

    fn nic_changed<'a>(&'a self, _: NicDevice<'a>, _: NicDevice<'a>) -> BoxFuture<'a, PortResult<()>> {
        Box::pin(async { Ok(()) })
    }

    fn forward<'a>(
        &'a self,
        _: &'a Instance,
        _: &'a str,
        _: Option<&'a Forward>,
    ) -> BoxFuture<'a, PortResult<()>> {
        Box::pin(async { Ok(()) })
    }
}

/// Whether the host has a network card of this name.
pub(crate) fn exists(link: &str) -> bool {
    Path::new("/sys/class/net").join(link).exists()
}

/// Waits for something that must come true soon.
pub(crate) async fn soon(what: &str, mut is_true: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !is_true() {
        assert!(Instant::now() < patience, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The next event.
pub(crate) async fn next(events: &mut UnboundedReceiver<Event>) -> Event {
    tokio::time::timeout(Duration::from_secs(20), events.recv())
        .await
        .expect("an event")
        .unwrap()
}

/// Runs a shell command inside; returns its code, standard output and error.
pub(crate) async fn shell(instances: &Instances, key: &Key, script: &str) -> (i32, String, String) {
    run(instances, request(&["/bin/sh", "-c", script]), key, b"").await
}

/// A request with pipes, as root.
pub(crate) fn request(command: &[&str]) -> ExecRequest {
    ExecRequest {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        environment: BTreeMap::new(),
        uid: 0,
        gid: 0,
        cwd: "/".into(),
        streams: Streams::Pipes,
    }
}

/// Runs a program with pipes to its end.
pub(crate) async fn run(
    instances: &Instances,
    request: ExecRequest,
    key: &Key,
    input: &[u8],
) -> (i32, String, String) {
    let exec = instances.exec(key, request).await.unwrap().begin().await;
    let Ends::Pipes {
        mut stdin,
        mut stdout,
        mut stderr,
    } = exec.ends
    else {
        panic!("pipes")
    };
    let input = input.to_vec();
    let writer = tokio::spawn(async move { stdin.write_all(&input).await });
    let (mut out, mut err) = (String::new(), String::new());
    let reads = async { tokio::join!(stdout.read_to_string(&mut out), stderr.read_to_string(&mut err)) };
    let patience = Duration::from_secs(60);
    let (a, b) = tokio::time::timeout(patience, reads).await.expect("output ends");
    a.unwrap();
    b.unwrap();
    let _ = writer.await.unwrap();
    (exec.exit.wait().await.unwrap(), out, err)
}

async fn make_rootfs(rootfs: &Path) {
    for folder in [
        "bin", "sbin", "dev", "etc", "proc", "sys", "tmp", "root", "run", "var",
    ] {
        std::fs::create_dir_all(rootfs.join(folder)).unwrap();
    }
    std::fs::copy("/bin/busybox", rootfs.join("bin/busybox")).expect("apt-get install busybox-static");
    let applets = Command::new("/bin/busybox")
        .arg("--list")
        .output()
        .await
        .unwrap()
        .text();
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
    }
    std::os::unix::fs::symlink("../bin/busybox", rootfs.join("sbin/init")).unwrap();
    std::fs::write(rootfs.join("etc/inittab"), "::sysinit:/bin/touch /run/booted\n").unwrap();
    std::fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    std::fs::write(rootfs.join("etc/group"), "root:x:0:\n").unwrap();
}

/// `target/PROFILE/lxd-helper`, beside the folder of this test program.
fn helper_path() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.ancestors().nth(2).unwrap().join("lxd-helper")
}

async fn build_helper() {
    static BUILT: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let build = || async {
        let mut cargo = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "liblxc", "--bin", "lxd-helper"])
            .cwd(env!("CARGO_MANIFEST_DIR"));
        if helper_path()
            .parent()
            .is_some_and(|folder| folder.ends_with("release"))
        {
            cargo = cargo.arg("--release");
        }
        cargo.output().await.unwrap();
    };
    BUILT.get_or_init(build).await;
}
