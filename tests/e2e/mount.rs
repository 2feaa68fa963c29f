//! `lxc file mount`: files of instances for whoever speaks SFTP, and as a folder of the host.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use lxd_e2e::program::{Done, patiently, sh};
use lxd_e2e::{Kind, Server, image};

fn ready() -> Server {
    let server = Server::ready(Kind::Ours, "dir");
    let file = image::busybox(server.scratch(), "tar.gz");
    server
        .lxc(&["image", "import", file.to_str().unwrap(), "--alias", "bb"])
        .ok();
    server.lxc(&["init", "bb", "fm1"]).ok();
    server
}

/// A client that serves until it is dropped, and what it said of itself: the address, and name and password.
struct Listener {
    child: Child,
    address: String,
    login: String,
}

impl Listener {
    fn start(server: &Server, args: &[&str]) -> Self {
        let mut command = server.client_command(Kind::Ours, &[&["file", "mount", "fm1"], args].concat());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut line = || lines.next().unwrap().unwrap();
        let (first, login) = (line(), line());
        let address = first.strip_prefix("SSH SFTP listening on ").unwrap().to_owned();
        // What is said later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            address,
            login,
        }
    }

    fn curl(&self, path: &str, args: &[&str]) -> Done {
        let url = format!("sftp://{}{path}", self.address);
        let plain = ["-s", "-S", "--insecure", "--max-time", "20", &url];
        sh("curl", &[&plain, args].concat())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn files_are_served_by_ssh() {
    let server = ready();
    let open = Listener::start(&server, &["--listen", "127.0.0.1:0", "--no-auth"]);
    assert_eq!(open.login, "Login without username and password");
    let passwd = open.curl("/etc/passwd", &[]).ok();
    assert_eq!(passwd, server.lxc(&["file", "pull", "fm1/etc/passwd", "-"]).ok());
    let local = server.scratch().join("local");
    std::fs::write(&local, "by SFTP").unwrap();
    open.curl("/root/put", &["--upload-file", local.to_str().unwrap()])
        .ok();
    assert_eq!(server.lxc(&["file", "pull", "fm1/root/put", "-"]).ok(), "by SFTP");
    let list = open.curl("/root/", &[]).ok();
    assert!(list.starts_with('-') && list.contains(" root "), "{list}");
    open.curl("/etc/nothing", &[]).failed();
    // Nothing but SFTP is to be had.
    let (host, port) = open.address.rsplit_once(':').unwrap();
    let options = [
        "-oBatchMode=yes",
        "-oStrictHostKeyChecking=no",
        "-oUserKnownHostsFile=/dev/null",
    ];
    sh("ssh", &[&options[..], &["-p", port, host, "true"]].concat()).failed();
}

#[test]
fn whoever_does_not_know_the_password_is_refused() {
    let server = ready();
    let listener = Listener::start(&server, &["--auth-user", "me"]);
    assert!(listener.address.starts_with("127.0.0.1:"), "{}", listener.address);
    let words: Vec<&str> = listener.login.split('"').collect();
    let ["Login with username ", "me", " and password ", password, ""] = words[..] else {
        panic!("{}", listener.login);
    };
    let right = format!("me:{password}");
    assert!(
        listener
            .curl("/etc/passwd", &["-u", &right])
            .ok()
            .contains("root")
    );
    for wrong in ["me:", "me:wrong", &format!("you:{password}")] {
        listener.curl("/etc/passwd", &["-u", wrong]).failed();
    }
    listener.curl("/etc/passwd", &[]).failed();
}

#[test]
fn a_folder_is_mounted_until_the_client_is_interrupted() {
    let server = ready();
    if !Path::new("/usr/bin/sshfs").exists() {
        let refusal = server.lxc(&["file", "mount", "fm1/root", "/tmp"]).failed();
        assert!(refusal.contains("sshfs not found"), "{refusal}");
        return;
    }
    let target = server.scratch().join("target");
    std::fs::create_dir(&target).unwrap();
    let mut command = server.client_command(
        Kind::Ours,
        &["file", "mount", "fm1//etc/", target.to_str().unwrap()],
    );
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    patiently("the mount", || target.join("passwd").exists());
    std::fs::write(target.join("new"), "from the host").unwrap();
    assert_eq!(
        server.lxc(&["file", "pull", "fm1/etc/new", "-"]).ok(),
        "from the host"
    );
    sh("kill", &["-INT", &child.id().to_string()]).ok();
    patiently("the client's end", || child.try_wait().unwrap().is_some());
    assert_eq!(
        std::fs::read_dir(&target).unwrap().count(),
        0,
        "the mount is gone"
    );
}

#[test]
fn what_can_not_be_mounted_is_said() {
    let server = ready();
    let reason = |args: &[&str]| server.lxc(&[&["file", "mount"], args].concat()).failed();
    for (args, wanted) in [
        (
            &["fm1/root", "/nonexistent"][..],
            "stat /nonexistent: no such file or directory",
        ),
        (&["fm1/root", "/etc/passwd"], "Target path must be a directory"),
        (&["fm1", "/tmp"], "Invalid instance path: \"fm1\""),
        (
            &["fm1/root"],
            "Instance path cannot be used in SSH SFTP listener mode",
        ),
        (
            &["fm1/root", "/tmp", "--listen", ":0"],
            "Target path and --listen flag cannot be used together",
        ),
        (&["nope"], "Instance not found"),
        (
            &["fm1", "--listen", "127.0.0.1"],
            "Failed to listen for connection: listen tcp: address 127.0.0.1: missing port in address",
        ),
        (
            &["fm1", "--listen", "127.0.0.1:99999"],
            "Failed to listen for connection: listen tcp: address 99999: invalid port",
        ),
        (
            &["fm1", "--listen", "192.0.2.1:2222"],
            "Failed to listen for connection: listen tcp 192.0.2.1:2222: bind: cannot assign requested address",
        ),
    ] {
        assert_eq!(reason(args), format!("Error: {wanted}\n"));
    }
}
