//! Bad input: each gets the reference's status code and a message that names the value, and leaves nothing behind.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use lxd_e2e::program::sh;
use lxd_e2e::{Kind, Server, image};
use serde_json::Value;

/// Method, path, body, and a word that our message must hold (empty for none).
const REQUESTS: &[(&str, &str, &str, &str)] = &[
    ("GET", "/1.0/nosuch", "", ""),
    ("GET", "/nosuch", "", ""),
    ("GET", "/1.0/instances/nosuch", "", "Instance"),
    ("GET", "/1.0/instances?project=nosuch", "", ""),
    ("GET", "/1.0/images/ffff", "", "Image"),
    ("GET", "/1.0/images/aliases/nosuch", "", "alias"),
    ("GET", "/1.0/profiles/nosuch", "", "Profile"),
    ("GET", "/1.0/networks/nosuch", "", "Network"),
    ("GET", "/1.0/storage-pools/nosuch", "", "pool"),
    ("GET", "/1.0/projects/nosuch", "", "Project"),
    ("GET", "/1.0/operations/nosuch", "", "Operation"),
    (
        "GET",
        "/1.0/operations/00000000-0000-0000-0000-000000000000/wait",
        "",
        "Operation",
    ),
    ("GET", "/1.0/certificates/abcd", "", "ertificate"),
    ("GET", "/1.0/instances?filter=name", "", ""),
    ("POST", "/1.0/instances", "", ""),
    ("POST", "/1.0/instances", "not json", ""),
    ("POST", "/1.0/instances", "{\"name\": 5}", "name"),
    (
        "POST",
        "/1.0/instances",
        "{\"name\": \"x\", \"config\": []}",
        "config",
    ),
    ("POST", "/1.0/instances", "{\"name\": \"x\", \"source\": {}}", ""),
    (
        "POST",
        "/1.0/instances",
        "{\"name\": \"x\", \"source\": {\"type\": \"nosuch\"}}",
        "nosuch",
    ),
    (
        "POST",
        "/1.0/instances",
        "{\"name\": \"a_b\", \"source\": {\"type\": \"none\"}}",
        "",
    ),
    (
        "POST",
        "/1.0/instances",
        "{\"name\": \"-x\", \"source\": {\"type\": \"none\"}}",
        "",
    ),
    (
        "POST",
        "/1.0/instances",
        "{\"name\": \"../x\", \"source\": {\"type\": \"none\"}}",
        "",
    ),
    (
        "POST",
        "/1.0/instances",
        "{\"name\": \"x/y\", \"source\": {\"type\": \"none\"}}",
        "",
    ),
    (
        "POST",
        "/1.0/instances",
        "{\"name\": \"c1\", \"source\": {\"type\": \"none\"}}",
        "already exists",
    ),
    (
        "POST",
        "/1.0/instances",
        "{\"name\": \"x\", \"source\": {\"type\": \"image\", \"alias\": \"nosuch\"}}",
        "",
    ),
    (
        "POST",
        "/1.0/instances",
        "{\"name\": \"x\", \"source\": {\"type\": \"image\"}}",
        "",
    ),
    (
        "POST",
        "/1.0/instances",
        "{\"name\": \"x\", \"source\": {\"type\": \"copy\", \"source\": \"nosuch\"}}",
        "",
    ),
    (
        "POST",
        "/1.0/instances",
        "{\"name\": \"x\", \"profiles\": [\"nosuch\"], \"source\": {\"type\": \"none\"}}",
        "nosuch",
    ),
    (
        "POST",
        "/1.0/instances",
        "{\"name\": \"x\", \"config\": {\"no.such\": \"1\"}, \"source\": {\"type\": \"none\"}}",
        "no.such",
    ),
    (
        "POST",
        "/1.0/instances",
        "{\"name\": \"x\", \"config\": {\"limits.cpu\": \"lots\"}, \"source\": {\"type\": \"none\"}}",
        "CPU limit",
    ),
    (
        "POST",
        "/1.0/instances",
        "{\"name\": \"x\", \"devices\": {\"d\": {\"type\": \"nosuch\"}}, \"source\": {\"type\": \"none\"}}",
        "",
    ),
    (
        "POST",
        "/1.0/instances",
        "{\"name\": \"x\", \"devices\": {\"root\": {\"type\": \"disk\", \"path\": \"/\", \"pool\": \"nosuch\"}}, \"source\": {\"type\": \"none\"}}",
        "Storage pool",
    ),
    (
        "POST",
        "/1.0/instances",
        "{\"name\": \"x\", \"type\": \"nosuch\", \"source\": {\"type\": \"none\"}}",
        "",
    ),
    (
        "POST",
        "/1.0/instances",
        "{\"name\": \"x\", \"architecture\": \"nosuch\", \"source\": {\"type\": \"none\"}}",
        "nosuch",
    ),
    (
        "PUT",
        "/1.0/instances/c1/state",
        "{\"action\": \"nosuch\"}",
        "nosuch",
    ),
    (
        "PUT",
        "/1.0/instances/nosuch/state",
        "{\"action\": \"start\"}",
        "",
    ),
    ("POST", "/1.0/instances/c1", "{\"name\": \"a_b\"}", ""),
    ("POST", "/1.0/instances/c1/exec", "{\"command\": [\"true\"]}", ""),
    ("PUT", "/1.0/instances/c1", "{\"profiles\": [\"nosuch\"]}", ""),
    (
        "PATCH",
        "/1.0/instances/c1",
        "{\"config\": {\"limits.memory\": \"-1\"}}",
        "",
    ),
    ("POST", "/1.0/profiles", "{\"name\": \"\"}", ""),
    ("POST", "/1.0/profiles", "{\"name\": \"a/b\"}", ""),
    ("POST", "/1.0/profiles", "{\"name\": \"default\"}", "exists"),
    (
        "POST",
        "/1.0/profiles",
        "{\"name\": \"x\", \"config\": {\"no.such\": \"1\"}}",
        "no.such",
    ),
    ("DELETE", "/1.0/profiles/default", "", "default"),
    ("POST", "/1.0/projects", "{\"name\": \"a b\"}", ""),
    ("POST", "/1.0/projects", "{\"name\": \"default\"}", ""),
    (
        "POST",
        "/1.0/projects",
        "{\"name\": \"x\", \"config\": {\"features.nosuch\": \"true\"}}",
        "features.nosuch",
    ),
    ("DELETE", "/1.0/projects/default", "", "default"),
    (
        "POST",
        "/1.0/networks",
        "{\"name\": \"much-too-long-a-name\"}",
        "",
    ),
    ("POST", "/1.0/networks", "{\"name\": \"\"}", ""),
    (
        "POST",
        "/1.0/networks",
        "{\"name\": \"lxtx\", \"type\": \"nosuch\"}",
        "",
    ),
    (
        "POST",
        "/1.0/networks",
        "{\"name\": \"lxtx\", \"config\": {\"ipv4.address\": \"300.1.1.1/24\"}}",
        "300.1.1.1",
    ),
    (
        "POST",
        "/1.0/networks",
        "{\"name\": \"lxtx\", \"config\": {\"no.such\": \"1\"}}",
        "no.such",
    ),
    (
        "POST",
        "/1.0/storage-pools",
        "{\"name\": \"x\", \"driver\": \"nosuch\"}",
        "driver",
    ),
    (
        "POST",
        "/1.0/storage-pools",
        "{\"name\": \"default\", \"driver\": \"dir\"}",
        "",
    ),
    (
        "POST",
        "/1.0/storage-pools",
        "{\"name\": \"x\", \"driver\": \"dir\", \"config\": {\"no.such\": \"1\"}}",
        "no.such",
    ),
    ("DELETE", "/1.0/storage-pools/default", "", ""),
    ("PUT", "/1.0", "{\"config\": {\"no.such\": \"1\"}}", "no.such"),
    (
        "PATCH",
        "/1.0",
        "{\"config\": {\"core.https_address\": \"not an address\"}}",
        "",
    ),
    (
        "POST",
        "/1.0/certificates",
        "{\"type\": \"client\", \"certificate\": \"nonsense\"}",
        "",
    ),
    (
        "POST",
        "/1.0/images/aliases",
        "{\"name\": \"x\", \"target\": \"nosuch\"}",
        "",
    ),
    ("POST", "/1.0/images/aliases", "{\"name\": \"\"}", ""),
    ("POST", "/1.0/images", "{\"source\": {\"type\": \"nosuch\"}}", ""),
];

fn error_of(answer: &Value) -> String {
    answer["error"].as_str().unwrap_or_default().to_owned()
}

/// The request's final fate: of the answer, or of the operation that it names.
fn fate(server: &Server, method: &str, path: &str, body: &str) -> (u16, u64, String) {
    let (code, answer) = server.api(method, path, body);
    let Some(operation) = answer["operation"]
        .as_str()
        .filter(|operation| !operation.is_empty())
    else {
        return (code, 0, error_of(&answer));
    };
    let (_, done) = server.api("GET", &format!("{operation}/wait?timeout=60"), "");
    let status = done["metadata"]["status_code"].as_u64().unwrap_or_default();
    (
        code,
        status,
        done["metadata"]["err"].as_str().unwrap_or_default().to_owned(),
    )
}

#[test]
fn requests_fail_as_with_the_reference() {
    let (ours, reference) = (
        Server::ready(Kind::Ours, "dir"),
        Server::ready(Kind::Reference, "dir"),
    );
    for server in [&ours, &reference] {
        server.lxc(&["init", "--empty", "c1"]).ok();
    }
    let rows = |server: &Server| {
        server.lxc(&["query", "/1.0/instances"]).ok() + &server.lxc(&["query", "/1.0/networks"]).ok()
    };
    let before = rows(&ours);
    let mut wrong = Vec::new();
    for (method, path, body, word) in REQUESTS {
        let a = fate(&ours, method, path, body);
        let b = fate(&reference, method, path, body);
        if (a.0, a.1) != (b.0, b.1) || !a.2.contains(word) {
            wrong.push(format!(
                "{method} {path} {body}\n  ours      {} {} {}\n  reference {} {} {}",
                a.0, a.1, a.2, b.0, b.1, b.2
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        REQUESTS.len(),
        wrong.join("\n")
    );
    assert_eq!(rows(&ours), before);
}

/// Tarballs made by Python, which lets them be as wrong as wished.
const TARBALLS: &str = r#"
import io, sys, tarfile
out = sys.argv[1]
META = b"architecture: x86_64\ncreation_date: 1700000000\nproperties: {os: test}\n"
def make(name, members, meta=META):
    with tarfile.open(f"{out}/{name}.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        if meta is not None:
            info = tarfile.TarInfo("metadata.yaml"); info.size = len(meta)
            tar.addfile(info, io.BytesIO(meta))
        root = tarfile.TarInfo("rootfs"); root.type = tarfile.DIRTYPE; root.mode = 0o755
        tar.addfile(root)
        for member, kind, extra in members:
            info = tarfile.TarInfo(member); info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(extra); tar.addfile(info, io.BytesIO(extra))
            else:
                info.linkname = extra or ""; tar.addfile(info)
F, L, H, C = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE
make("dotdot", [("../../escaped", F, b"x")])
make("dotdot-inside", [("rootfs/a/../../../escaped", F, b"x")])
make("symlink", [("rootfs/etc", L, "/tmp/lxt-escape"), ("rootfs/etc/escaped", F, b"x")])
make("symlink-up", [("rootfs/up", L, "../../.."), ("rootfs/up/escaped", F, b"x")])
make("hardlink", [("rootfs/shadow", H, "/etc/shadow")])
make("hardlink-up", [("rootfs/shadow", H, "../../../../../../etc/shadow")])
make("no-metadata", [("rootfs/x", F, b"x")], None)
make("metadata-not-yaml", [], b"\x00\x01: [}")
make("metadata-list", [], b"- a\n- b\n")
make("metadata-empty", [], b"")
make("metadata-no-architecture", [], b"creation_date: 1\n")
make("metadata-bad-architecture", [], b"architecture: vax\ncreation_date: 1700000000\n")
make("metadata-huge", [], b"architecture: x86_64\ncreation_date: 1\nproperties: {a: '" + b"x" * (64 << 20) + b"'}\n")
open(f"{out}/empty.tar", "wb").close()
open(f"{out}/garbage.tar", "wb").write(bytes(range(256)) * 64)
"#;

fn hostile(server: &Server) -> Vec<PathBuf> {
    let folder = server.scratch().join("hostile");
    std::fs::create_dir(&folder).unwrap();
    sh("python3", &["-c", TARBALLS, folder.to_str().unwrap()]).ok();
    let good = image::busybox(&folder, "tar.xz");
    let bytes = std::fs::read(&good).unwrap();
    std::fs::write(folder.join("truncated.tar.xz"), &bytes[..bytes.len() / 2]).unwrap();
    let mut corrupt = bytes;
    let middle = corrupt.len() / 2;
    corrupt[middle..middle + 64].fill(0xff);
    std::fs::write(folder.join("corrupt.tar.xz"), corrupt).unwrap();
    std::fs::remove_file(good).unwrap();
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    found
}

#[test]
fn hostile_images_harm_nothing_and_leave_nothing() {
    let server = Server::ready(Kind::Ours, "dir");
    for file in hostile(&server) {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let imported = server.lxc(&["image", "import", file.to_str().unwrap(), "--alias", "hostile"]);
        if imported.code == 0 {
            // What looks right from its metadata is unpacked at the first launch, and refused there.
            let launched = server.lxc(&["launch", "hostile", "victim"]);
            assert_ne!(launched.code, 0, "{name} was launched");
            assert!(launched.err.len() > 20, "{name}: {}", launched.err);
            server.lxc(&["image", "delete", "hostile"]).ok();
        } else {
            assert!(imported.err.starts_with("Error: "), "{name}: {}", imported.err);
        }
        assert!(!std::path::Path::new("/tmp/lxt-escape").exists(), "{name}");
        for folder in [
            server.dir(),
            server.dir().join("storage-pools"),
            server.scratch().to_owned(),
        ] {
            assert!(
                !folder.join("escaped").exists(),
                "{name} escaped to {}",
                folder.display()
            );
        }
        assert_eq!(server.lxc(&["list", "-f", "csv"]).ok(), "", "{name}");
        assert_eq!(server.lxc(&["image", "list", "-f", "csv"]).ok(), "", "{name}");
        assert_eq!(
            std::fs::read_dir(server.dir().join("images")).unwrap().count(),
            0,
            "{name}"
        );
        let pool = server.dir().join("storage-pools/default");
        assert_eq!(
            std::fs::read_dir(pool.join("containers")).unwrap().count(),
            0,
            "{name}"
        );
        assert_eq!(
            std::fs::read_dir(pool.join("images")).map_or(0, Iterator::count),
            0,
            "{name}"
        );
    }
}

#[test]
fn a_decompression_bomb_is_refused() {
    let server = Server::ready(Kind::Ours, "dir");
    let folder = server.scratch().join("bomb");
    image::tree(&folder, "a bomb");
    let big = std::fs::File::create(folder.join("rootfs/big")).unwrap();
    big.set_len(200 << 30).unwrap();
    let file = server.scratch().join("bomb.tar.zst");
    // The hole is written out as zeros, 200 GiB of them, by a process that is stopped once the header says so.
    let script = format!(
        "(head -c 512 /dev/null; tar -C {0} --hole-detection=seek -S -cf - metadata.yaml rootfs) | zstd -q -1 -o {1}",
        folder.display(),
        file.display()
    );
    sh("sh", &["-c", &script]).ok();
    let imported = server.lxc(&["image", "import", file.to_str().unwrap(), "--alias", "bomb"]);
    if imported.code == 0 {
        let launched = server.lxc(&["launch", "bomb", "victim"]);
        assert!(
            launched.code == 0 || launched.err.contains("big"),
            "{}",
            launched.err
        );
        server.lxc(&["delete", "--force", "victim"]);
        server.lxc(&["image", "delete", "bomb"]).ok();
    }
}

#[test]
fn a_body_that_never_ends_is_cut_off() {
    let server = Server::start(Kind::Ours);
    let mut socket = UnixStream::connect(server.dir().join("unix.socket")).unwrap();
    let head = "POST /1.0/profiles HTTP/1.1\r\nHost: lxd\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    socket.write_all(head.as_bytes()).unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 65536, "[".repeat(65536));
    for _ in 0..4096 {
        if socket.write_all(chunk.as_bytes()).is_err() {
            break;
        }
    }
    let mut answer = String::new();
    let _ = socket.read_to_string(&mut answer);
    assert!(
        answer.is_empty() || answer.contains(" 413 ") || answer.contains(" 400 "),
        "{answer}"
    );
    assert_eq!(
        server.api("GET", "/1.0/profiles", "").1["metadata"],
        serde_json::json!(["/1.0/profiles/default"])
    );
}
