//! Proxy devices: bytes really carried, both ways, through deaths of the daemon; rules as the reference's.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;

use lxd_e2e::{Kind, Server, image, program::patiently, program::sh};

fn ready(kind: Kind) -> Server {
    let server = Server::ready(kind, "dir");
    let file = image::busybox(server.scratch(), "tar.gz");
    server
        .lxc(&["image", "import", file.to_str().unwrap(), "--alias", "bb"])
        .ok();
    server
}

/// A port that nobody listens at now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[track_caller]
fn add(server: &Server, name: &str, words: &[&str]) {
    server
        .lxc(&[&["config", "device", "add", "c1", name, "proxy"], words].concat())
        .ok();
}

/// Starts something inside that answers each connection with what it is sent.
fn echo(server: &Server, port: u16) {
    let script = format!("nc -ll -p {port} -e cat >/dev/null 2>&1 </dev/null &");
    server.lxc(&["exec", "c1", "--", "sh", "-c", &script]).ok();
}

/// Sends bytes, ends, and reads what comes back: gives whether that is the same.
fn is_echoed(mut stream: impl Read + Write, end: impl FnOnce(), bytes: &[u8]) -> bool {
    let mut answer = Vec::new();
    if stream.write_all(bytes).is_err() {
        return false;
    }
    end();
    stream.read_to_end(&mut answer).is_ok() && answer == bytes
}

fn tcp_is_echoed(port: u16, bytes: &[u8]) -> bool {
    let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let other = stream.try_clone().unwrap();
    is_echoed(stream, || other.shutdown(Shutdown::Write).unwrap(), bytes)
}

fn proxies(server: &Server) -> usize {
    let logs = server.dir().join("logs/c1/proxy.");
    let all = sh("ps", &["-eo", "args"]).ok();
    all.lines()
        .filter(|line| line.contains(logs.to_str().unwrap()))
        .count()
}

#[test]
fn connections_are_carried_in_and_live_on_without_the_daemon() {
    let mut server = ready(Kind::Ours);
    server.lxc(&["launch", "bb", "c1"]).ok();
    echo(&server, 8001);
    let (port, second) = (free_port(), free_port());
    add(
        &server,
        "web",
        &[
            &format!("listen=tcp:127.0.0.1:{port}"),
            "connect=tcp:127.0.0.1:8001",
        ],
    );
    let socket = server.scratch().join("in.socket");
    let listen = format!("listen=unix:{}", socket.display());
    add(
        &server,
        "file",
        &[
            &listen,
            "connect=tcp:127.0.0.1:8001",
            "mode=0660",
            "uid=12",
            "gid=13",
        ],
    );
    let found = std::fs::metadata(&socket).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (12, 13, 0o660));
    patiently("the server inside", || tcp_is_echoed(port, b"x"));
    let unix = UnixStream::connect(&socket).unwrap();
    let other = unix.try_clone().unwrap();
    assert!(is_echoed(
        unix,
        || other.shutdown(Shutdown::Write).unwrap(),
        &[7; 5000]
    ));
    // One that stays open while the daemon dies.
    let mut open = TcpStream::connect(("127.0.0.1", port)).unwrap();
    open.write_all(b"before").unwrap();
    server.kill();
    open.write_all(b"after!").unwrap();
    let mut answer = [0; 12];
    open.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"beforeafter!");
    server.spawn();
    assert_eq!(proxies(&server), 2);
    assert!(tcp_is_echoed(port, &vec![3; 1 << 20]));
    // The next daemon can take it away, change it, and put it away with its container.
    server
        .lxc(&[
            "config",
            "device",
            "set",
            "c1",
            "web",
            &format!("listen=tcp:127.0.0.1:{second}"),
        ])
        .ok();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(tcp_is_echoed(second, b"moved"));
    server.lxc(&["config", "device", "remove", "c1", "web"]).ok();
    assert!(TcpStream::connect(("127.0.0.1", second)).is_err());
    server.lxc(&["stop", "--force", "c1"]).ok();
    patiently("the end of the proxies", || proxies(&server) == 0);
    assert!(!socket.exists());
    assert!(!server.dir().join("devices/c1").exists());
}

#[test]
fn connections_are_carried_out() {
    let server = ready(Kind::Ours);
    server.lxc(&["launch", "bb", "c1"]).ok();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = format!("connect=tcp:127.0.0.1:{port}");
    add(
        &server,
        "out",
        &["bind=instance", "listen=tcp:127.0.0.1:8101", &connect],
    );
    let count = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all.len()
    });
    let script = "head -c 3000000 /dev/zero | nc 127.0.0.1 8101";
    server.lxc(&["exec", "c1", "--", "sh", "-c", script]);
    assert_eq!(count.join().unwrap(), 3_000_000);
    add(
        &server,
        "file",
        &[
            "bind=instance",
            "listen=unix:/tmp/out.socket",
            &connect,
            "uid=5",
            "gid=6",
            "mode=0600",
        ],
    );
    let listed = server
        .lxc(&["exec", "c1", "--", "ls", "-n", "/tmp/out.socket"])
        .ok();
    assert!(listed.starts_with("srw-------    1 5        6"), "{listed}");
}

/// What is asked of both daemons, on a card with the address 10.214.77.50.
const NAT: &[&str] = &[
    "listen=tcp:10.214.77.1:1111 connect=tcp:10.214.77.50:80 nat=true",
    "listen=udp:10.214.77.1:1115-1116 connect=udp:0.0.0.0:80 nat=true",
    "listen=tcp:10.214.77.1:1121 connect=tcp:10.214.77.99:80 nat=true",
    "listen=tcp:10.214.77.1:1121-1123 connect=tcp:0.0.0.0:80-81 nat=true",
    "listen=tcp:0.0.0.0:1121 connect=tcp:0.0.0.0:80 nat=true",
    "listen=tcp:10.214.77.1:1121 connect=udp:0.0.0.0:80 nat=true",
    "listen=tcp:10.214.77.1:1121 connect=tcp:[::]:80 nat=true",
    "listen=tcp:10.214.77.1:1121 connect=tcp:0.0.0.0:80 nat=true bind=instance",
    "listen=tcp:10.214.77.1:1121 connect=tcp:0.0.0.0:80 nat=true proxy_protocol=true",
    "listen=unix:@x connect=tcp:0.0.0.0:80 mode=0600",
    "listen=udp:127.0.0.1:1121 connect=tcp:127.0.0.1:80",
    "listen=tcp:127.0.0.1:1121-1123 connect=tcp:127.0.0.1:80-81",
];

fn answers(kind: Kind) -> Vec<String> {
    let server = ready(kind);
    let network = format!("{}n", server.bridge());
    server
        .lxc(&[
            "network",
            "create",
            &network,
            "ipv4.address=10.214.77.1/24",
            "ipv6.address=none",
        ])
        .ok();
    server.lxc(&["launch", "bb", "c1"]).ok();
    let wanted = format!("network={network}");
    server
        .lxc(&[
            "config",
            "device",
            "add",
            "c1",
            "card",
            "nic",
            &wanted,
            "ipv4.address=10.214.77.50",
        ])
        .ok();
    let mut all = Vec::new();
    for words in NAT {
        let words: Vec<&str> = words.split(' ').collect();
        let added = server.lxc(&[&["config", "device", "add", "c1", "p", "proxy"], &words[..]].concat());
        let rules = sh("nft", &["list", "table", "inet", "lxd"]).ok();
        let ours = rules
            .lines()
            .filter(|line| line.contains("10.214.77.50") || line.contains(".c1.p "));
        // The reference says twice which device failed at a start.
        let error = added.err.replace(
            "Failed to start device \"p\": Failed to start device",
            "Failed to start device",
        );
        all.push(format!("{words:?} {error} {:#?}", ours.collect::<Vec<_>>()));
        server.lxc(&["config", "device", "remove", "c1", "p"]);
        let left = sh("nft", &["list", "table", "inet", "lxd"]).ok();
        assert!(!left.contains(".c1.p "), "{left}");
    }
    all
}

#[test]
fn rules_and_refusals_are_the_references() {
    let (ours, reference) = (answers(Kind::Ours), answers(Kind::Reference));
    for (ours, reference) in ours.iter().zip(&reference) {
        assert_eq!(ours, reference);
    }
}
