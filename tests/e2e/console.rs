//! Consoles: a user sits down, types, and leaves with ctrl-a q; what was shown can be read later.

use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::mpsc;

use lxd_e2e::program::patiently;
use lxd_e2e::{Kind, Server, image};

/// Starts a container whose console has a shell.
fn ready() -> Server {
    let server = Server::ready(Kind::Ours, "dir");
    let file = image::busybox(server.scratch(), "tar.gz");
    server
        .lxc(&["image", "import", file.to_str().unwrap(), "--alias", "bb"])
        .ok();
    server.lxc(&["init", "bb", "c1"]).ok();
    let inittab = "console::respawn:/bin/sh\n::ctrlaltdel:/bin/poweroff\n";
    server
        .client(Kind::Ours, &["file", "push", "-", "c1/etc/inittab"], inittab)
        .ok();
    server.lxc(&["start", "c1"]).ok();
    server
}

#[test]
fn a_console_answers_and_is_left_by_keys() {
    let server = ready();
    sit(&server);
    let log = server.lxc(&["console", "c1", "--show-log"]).ok();
    assert!(log.contains("sum42"), "{log}");
    assert!(!server.log().contains("panicked"), "{}", server.log());
    let operations = server.lxc(&["operation", "list", "-f", "csv"]).ok();
    assert!(!operations.contains("RUNNING"), "{operations}");
    server.lxc(&["console", "c1", "--type=vga"]).failed();
    server.lxc(&["stop", "-f", "c1"]).ok();
    server.lxc(&["console", "c1"]).failed();
    assert!(
        server
            .lxc(&["console", "c1", "--show-log"])
            .ok()
            .contains("sum42")
    );
}

/// Types a command at the console, sees its outcome, and leaves.
fn sit(server: &Server) {
    let client = server.client_command(Kind::Ours, &["console", "c1"]);
    let line = format!("{} console c1", client.get_program().to_str().unwrap());
    // The client wants a terminal; `script` is one.
    let mut command = std::process::Command::new("script");
    command.args(["-qfc", &line, "/dev/null"]);
    command.envs(client.get_envs().filter_map(|(key, value)| Some((key, value?))));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (told, heard) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = screen.read(&mut buffer) {
            let _ = told.send(String::from_utf8_lossy(&buffer[..count]).into_owned());
        }
    });
    let mut shown = String::new();
    let mut has = |word: &str| {
        shown.extend(heard.try_iter());
        shown.contains(word)
    };
    patiently("the client's welcome", || has("To detach from the console"));
    patiently("the sum", || {
        keys.write_all(b"\recho sum$((40+2))\r").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
        has("sum42")
    });
    keys.write_all(b"\x01q").unwrap();
    patiently("the client's end", || child.try_wait().unwrap().is_some());
    assert!(child.wait().unwrap().success(), "{shown}");
    drop(keys);
    reader.join().unwrap();
}
