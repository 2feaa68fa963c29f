//! `proxy`: ports and sockets of the host that lead into the instance, and the other way round. One small process each, or
//! rules of the firewall.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use liblxc::protocol::Reply;
use liblxc::proxy::{Endpoint, Ids, Proxy as Request};
use lxd_model::devices::proxy::Address;
use lxd_sys::command::Signal;
use lxd_sys::process::{self, Process};

use super::{Device, Host, Kind, Plan, encode, of_type, value};
use crate::drivers::Guest;
use crate::error::Error;
use crate::lxd_helper::Helper;
use crate::ports::Forward;

/// How long a proxy may take to end when asked to.
const PATIENCE: Duration = Duration::from_secs(3);

/// The kind.
pub struct Proxy;

impl Kind for Proxy {
    fn check(&self, device: &Device) -> Result<(), Error> {
        addresses(device).map(drop)
    }

    fn prepare<'a>(&'a self, _host: &'a Host, device: &'a Device) -> BoxFuture<'a, Result<Plan, Error>> {
        Box::pin(async { Ok(Plan::new(&device.name)) })
    }

    fn present<'a>(&'a self, _host: &'a Host, device: &'a Device) -> BoxFuture<'a, Result<Plan, Error>> {
        Box::pin(async { Ok(Plan::new(&device.name)) })
    }

    fn started<'a>(
        &'a self,
        host: &'a Host,
        device: &'a Device,
        _plan: &'a Plan,
        guest: &'a Arc<dyn Guest>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            if device.is_set("nat") {
                let forward = forward(device)?;
                let made = host
                    .network
                    .forward(&device.instance, &device.name, Some(&forward));
                return made.await.map_err(Error::Port);
            }
            let request = request(device, guest.pid())?;
            let pid = start(host, device, &request).await;
            let pid = pid.map_err(|reason| {
                Error::DeviceValue(format!(
                    "Error occurred when starting proxy device: Error: {reason}"
                ))
            })?;
            write_pid(device, pid).await
        })
    }

    fn stopped<'a>(&'a self, host: &'a Host, device: &'a Device) -> BoxFuture<'a, Vec<Error>> {
        Box::pin(async move {
            if device.is_set("nat") {
                let gone = host.network.forward(&device.instance, &device.name, None).await;
                return gone.err().map(Error::Port).into_iter().collect();
            }
            let stopped = stop(device).await;
            // The process may not have the right to.
            if let Some(path) = own_socket(device).await {
                let _ = tokio::fs::remove_file(path).await;
            }
            stopped.err().into_iter().collect()
        })
    }

    /// A process that is gone comes again: it ends with the container's init, also when no daemon saw the reboot.
    fn refresh<'a>(
        &'a self,
        host: &'a Host,
        device: &'a Device,
        guest: &'a Arc<dyn Guest>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            if device.is_set("nat") || is_running(device).await {
                return Ok(());
            }
            for error in self.stopped(host, device).await {
                tracing::debug!(device = device.name, %error, "A proxy that was gone has left something");
            }
            self.started(host, device, &Plan::new(&device.name), guest).await
        })
    }
}

fn addresses(device: &Device) -> Result<(Address, Address), Error> {
    let read = |key: &str| {
        let text = device.value(key).unwrap_or_default();
        Address::parse(text).ok_or_else(|| Error::DeviceValue(format!("Invalid address {text:?}")))
    };
    Ok((read("listen")?, read("connect")?))
}

/// All single places of an address.
fn endpoints(address: Address) -> Vec<Endpoint> {
    match address {
        Address::Path(path) => vec![Endpoint::Unix(path)],
        Address::Abstract(name) => vec![Endpoint::Abstract(name)],
        Address::Ip {
            protocol,
            host,
            ports,
        } => {
            let at = |port| match protocol {
                "udp" => Endpoint::Udp(SocketAddr::new(host, port)),
                _ => Endpoint::Tcp(SocketAddr::new(host, port)),
            };
            ports.into_iter().map(at).collect()
        }
    }
}

/// What the process is told.
fn request(device: &Device, init: i32) -> Result<Request, Error> {
    let refuse = |reason: &str| {
        Err(Error::DeviceValue(format!(
            "Error occurred when starting proxy device: Error: {reason}"
        )))
    };
    let (listen, connect) = addresses(device)?;
    if listen.protocol() == "udp" && connect.protocol() != "udp" {
        return refuse("Proxying from udp to non-udp protocol is not supported");
    }
    let (listen, connect) = (endpoints(listen), endpoints(connect));
    if connect.len() != 1 && connect.len() != listen.len() {
        return refuse("Invalid port range");
    }
    let listen_inside = matches!(device.value("bind"), Some("instance" | "guest" | "container"));
    let number = |key: &str| {
        device
            .value(key)
            .and_then(|text| text.parse::<u32>().ok())
            .unwrap_or(0)
    };
    let ids = |uid: u32, gid: u32, inside: bool| {
        if inside {
            Ids {
                uid: device.instance.host_uid(uid),
                gid: device.instance.host_gid(gid),
            }
        } else {
            Ids { uid, gid }
        }
    };
    let mode = device
        .value("mode")
        .and_then(|text| u32::from_str_radix(text, 8).ok());
    Ok(Request {
        init,
        listen_inside,
        listen,
        connect,
        creator: ids(0, 0, listen_inside),
        owner: ids(number("uid"), number("gid"), listen_inside),
        mode: mode.unwrap_or(0o644),
        user: ids(number("security.uid"), number("security.gid"), !listen_inside),
        header: device.is_set("proxy_protocol"),
    })
}

/// The rules that do the same in the kernel.
fn forward(device: &Device) -> Result<Forward, Error> {
    let refuse = |text: String| Err(Error::DeviceValue(text));
    let (
        Address::Ip {
            protocol,
            host: listen,
            ports: listen_ports,
        },
        Address::Ip {
            host: wanted,
            ports: connect_ports,
            ..
        },
    ) = addresses(device)?
    else {
        return refuse("NAT needs IP addresses".into());
    };
    if connect_ports.len() != 1 && connect_ports.len() != listen_ports.len() {
        return refuse("Mismatch between listen port(s) and target port(s) count".into());
    }
    let (key, shown) = if listen.is_ipv4() {
        ("ipv4.address", "IPv4")
    } else {
        ("ipv6.address", "IPv6")
    };
    let mut fixed = of_type(&device.instance, "nic").flat_map(|(_, card)| {
        let listed = value(card, key).unwrap_or_default().split(',');
        listed.filter_map(|text| text.trim().parse().ok())
    });
    let connect = match wanted.is_unspecified() {
        true => fixed.next(),
        false => fixed.find(|address| *address == wanted),
    };
    match connect {
        Some(connect) => Ok(Forward {
            protocol,
            listen,
            connect,
            listen_ports,
            connect_ports,
        }),
        None if wanted.is_unspecified() => refuse(format!(
            "Instance has no static {shown} address assigned to be used as the connect IP"
        )),
        None => refuse(format!(
            "Connect IP \"{wanted}\" must be one of the instance's static {shown} addresses"
        )),
    }
}

/// The socket that the device has made on the host, if it is there.
async fn own_socket(device: &Device) -> Option<PathBuf> {
    if !matches!(device.value("bind"), None | Some("host")) {
        return None;
    }
    let (Address::Path(path), _) = addresses(device).ok()? else {
        return None;
    };
    let found = tokio::fs::symlink_metadata(&path).await.ok()?;
    let is_socket = std::os::unix::fs::FileTypeExt::is_socket(&found.file_type());
    is_socket.then(|| path.into())
}

fn log_of(device: &Device) -> PathBuf {
    device
        .instance
        .paths
        .logs
        .join(format!("proxy.{}.log", device.name))
}

/// The file that names the process, for the next daemon, in the reference's form.
fn pid_file(device: &Device) -> PathBuf {
    device
        .instance
        .paths
        .devices
        .join(format!("proxy.{}", encode(&device.name)))
}

/// Starts the process; returns once it listens everywhere. The reason of a failure is its own.
async fn start(host: &Host, device: &Device, request: &Request) -> Result<i32, String> {
    let text = |error: Error| crate::error::chain(&error);
    let namespace =
        |kind| process::namespace(request.init, kind).map_err(|e| format!("opening namespaces: {e}"));
    let (net, mnt) = (namespace("net")?, namespace("mnt")?);
    let log = log_of(device).display().to_string();
    let helper = Helper::new(host.helper.clone());
    let mut connection = helper.connect_with(&["proxy", &log]).map_err(text)?;
    let fds = [std::os::fd::AsFd::as_fd(&net), std::os::fd::AsFd::as_fd(&mnt)];
    connection.send(&request.encode(), &fds).await.map_err(text)?;
    match connection.receive().await.map_err(text)? {
        (Reply::Running(pid), _) => Ok(pid),
        (Reply::Failed(reason), _) => Err(reason),
        (other, _) => Err(format!("unexpected answer {other:?}")),
    }
}

async fn write_pid(device: &Device, pid: i32) -> Result<(), Error> {
    let path = pid_file(device);
    let log = serde_json::Value::from(log_of(device).display().to_string());
    let text = format!(
        "name: lxd-helper\nargs: [proxy, {log}]\napparmor: \"\"\npid: {pid}\nuid: 0\ngid: 0\nset_groups: false\nsysprocattr: null\n"
    );
    let written = tokio::fs::write(&path, text).await;
    written.map_err(Error::file("write", &path))
}

/// Whether the process that was noted runs.
async fn is_running(device: &Device) -> bool {
    let noted = tokio::fs::read_to_string(pid_file(device)).await;
    let process = noted.ok().and_then(|text| running(device, noted_pid(&text)?));
    process.is_some_and(|process| !process.has_ended())
}

fn noted_pid(text: &str) -> Option<i32> {
    text.lines()
        .find_map(|line| line.strip_prefix("pid: ")?.trim().parse().ok())
}

/// Ends the process, if it is there, and removes its file.
async fn stop(device: &Device) -> Result<(), Error> {
    let path = pid_file(device);
    let text = match tokio::fs::read_to_string(&path).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        read => read.map_err(Error::file("read", &path))?,
    };
    if let Some(process) = noted_pid(&text).and_then(|pid| running(device, pid)) {
        let failed = |source| Error::Process {
            action: "end a proxy of",
            key: device.instance.key.clone(),
            source,
        };
        process.signal(Signal::TERM).map_err(failed)?;
        if tokio::time::timeout(PATIENCE, process.ended()).await.is_err() {
            process.kill().map_err(failed)?;
        }
    }
    tokio::fs::remove_file(&path)
        .await
        .map_err(Error::file("remove", &path))
}

/// The process of that number, if it is this device's: ours, or one that the reference has started.
fn running(device: &Device, pid: i32) -> Option<Process> {
    let process = Process::adopt(pid).ok()?;
    let line = process::command_line(pid).ok()?;
    let line = String::from_utf8_lossy(&line).into_owned();
    let ours = line.contains(&format!("proxy\0{}", log_of(device).display()));
    (ours || line.contains("\0forkproxy\0")).then_some(process)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::Instance;
    use crate::instance::tests::plain;

    fn device(config: &[(&str, &str)]) -> Device {
        let mut instance = plain("/x".as_ref(), "c1");
        let card = [
            ("type", "nic"),
            ("ipv4.address", "10.1.1.5"),
            ("ipv6.address", "fd00::5"),
        ];
        let map = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        instance.devices.insert("eth0".into(), map(&card));
        Device {
            instance: Arc::new(instance),
            name: "p".into(),
            config: map(config),
        }
    }

    #[test]
    fn ranges_become_single_ports_and_ids_the_hosts() {
        let inside = request(
            &device(&[
                ("listen", "unix:/run/s"),
                ("connect", "tcp:127.0.0.1:80"),
                ("bind", "instance"),
                ("uid", "5"),
                ("mode", "0600"),
                ("security.uid", "7"),
            ]),
            9,
        )
        .unwrap();
        assert_eq!(
            (inside.creator.uid, inside.owner.uid, inside.user.uid),
            (1_000_000, 1_000_005, 7)
        );
        assert_eq!(inside.mode, 0o600);
        let range = request(
            &device(&[("listen", "tcp:[::]:80-81"), ("connect", "udp:127.0.0.1:90-91")]),
            9,
        )
        .unwrap();
        let shown: Vec<String> = range
            .listen
            .iter()
            .chain(&range.connect)
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            shown,
            [
                "tcp:[::]:80",
                "tcp:[::]:81",
                "udp:127.0.0.1:90",
                "udp:127.0.0.1:91"
            ]
        );
        assert_eq!(range.user.uid, 1_000_000);
        for (listen, connect, reason) in [
            ("tcp:1.2.3.4:1-3", "tcp:1.2.3.4:1-2", "Invalid port range"),
            (
                "udp:1.2.3.4:1",
                "tcp:1.2.3.4:1",
                "Proxying from udp to non-udp protocol is not supported",
            ),
        ] {
            let refused = request(&device(&[("listen", listen), ("connect", connect)]), 9).unwrap_err();
            assert_eq!(
                refused.to_string(),
                format!("Error occurred when starting proxy device: Error: {reason}")
            );
        }
    }

    #[test]
    fn rules_lead_to_fixed_addresses_only() {
        let nat = |listen: &str, connect: &str| {
            let made = forward(&device(&[("listen", listen), ("connect", connect)]));
            made.map(|forward| forward.connect.to_string())
                .unwrap_or_else(|error| error.to_string())
        };
        assert_eq!(nat("tcp:1.1.1.1:80", "tcp:0.0.0.0:80"), "10.1.1.5");
        assert_eq!(nat("tcp:[fd01::1]:80", "tcp:[::]:80"), "fd00::5");
        assert_eq!(
            nat("tcp:1.1.1.1:80", "tcp:10.1.1.6:80"),
            "Connect IP \"10.1.1.6\" must be one of the instance's static IPv4 addresses"
        );
        let none = device(&[("listen", "tcp:1.1.1.1:80"), ("connect", "tcp:0.0.0.0:80")]);
        let mut bare = Instance::clone(&none.instance);
        bare.devices.clear();
        let none = Device {
            instance: Arc::new(bare),
            ..none
        };
        assert_eq!(
            forward(&none).unwrap_err().to_string(),
            "Instance has no static IPv4 address assigned to be used as the connect IP"
        );
        assert_eq!(
            nat("tcp:1.1.1.1:80-82", "tcp:0.0.0.0:80-81"),
            "Mismatch between listen port(s) and target port(s) count"
        );
    }
}
