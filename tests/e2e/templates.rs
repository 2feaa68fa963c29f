//! Templates of files and the metadata of images, with both daemons.

use std::path::{Path, PathBuf};

use lxd_e2e::compare::normalised;
use lxd_e2e::program::sh;
use lxd_e2e::{Kind, Server, image};

/// What the templates say; the last line of it looks at the configuration, whose volatile keys differ.
const TEMPLATE: &str = r#"trigger={{ trigger }} path={{ path }} name={{ container.name }} {{ instance.name|upper }}
type={{ instance.type }} arch={{ instance.architecture }} privileged={{ instance.privileged }} ephemeral={{ instance.ephemeral }}
get={{ config_get("user.text", "none") }}| other={{ config_get("user.none", properties.default) }}|{{ config.none }}|
{% for name, device in devices sorted %}{{ name }}={{ device.type }};{% endfor %}
{% if instance.type == "container" && instance.name != "c2" %}A{% elif !trigger %}B{% else %}C{% endif %} {{ 1 == 1 }}
{{ properties.none|default:"by filter" }} {% for key in config sorted %}{% if key == "user.text" %}{{ key }}{{ forloop.Last }}{% endif %}{% endfor %}
"#;

const METADATA: &str = "architecture: x86_64
creation_date: 1700000000
properties:
  os: BusyBox
templates:
  /etc/made:
    when: [create, copy]
    template: all.tpl
    properties:
      default: from the image
  /etc/started:
    when: [start]
    template: all.tpl
  /etc/new/folder/once:
    when: [create, start]
    create_only: true
    template: all.tpl
  /etc/passwd:
    when: [create]
    template: passwd.tpl
  /etc/link:
    when: [create]
    template: all.tpl
";

/// An image with templates.
fn templated(folder: &Path) -> PathBuf {
    let work = folder.join("templated");
    image::tree(&work, "with templates");
    std::fs::create_dir(work.join("templates")).unwrap();
    std::fs::write(work.join("templates/all.tpl"), TEMPLATE).unwrap();
    std::fs::write(
        work.join("templates/passwd.tpl"),
        "root:x:0:0:{{ trigger }}:/root:/bin/sh\n",
    )
    .unwrap();
    std::fs::write(work.join("metadata.yaml"), METADATA).unwrap();
    sh(
        "chmod",
        &["600", work.join("rootfs/etc/passwd").to_str().unwrap()],
    )
    .ok();
    let file = folder.join("templated.tar.gz");
    let (target, from) = (file.to_str().unwrap(), work.to_str().unwrap());
    sh(
        "tar",
        &[
            "--numeric-owner",
            "-C",
            from,
            "-czf",
            target,
            "metadata.yaml",
            "rootfs",
            "templates",
        ],
    )
    .ok();
    file
}

/// The files of an instance that came of templates, with their modes and owners as seen inside.
fn rendered(server: &Server, name: &str) -> String {
    let script = "cd /etc; for f in made started new/folder/once passwd; do stat -c '%n %a %u:%g' $f; cat $f; done; stat -c '%n %a %u:%g' new new/folder";
    server.lxc(&["exec", name, "--", "sh", "-c", script]).ok()
}

fn story(kind: Kind, driver: &str) -> Vec<String> {
    let server = Server::ready(kind, driver);
    let file = templated(server.scratch());
    server
        .lxc(&["image", "import", file.to_str().unwrap(), "--alias", "t"])
        .ok();
    server.lxc(&["init", "t", "c1", "-c", "user.text=a <b>"]).ok();
    let mut seen = Vec::new();
    let mut see = |text: String| seen.push(normalised(&server, &text));
    see(server.lxc(&["config", "metadata", "show", "c1"]).ok());
    server.lxc(&["start", "c1"]).ok();
    see(rendered(&server, "c1"));
    server
        .lxc(&[
            "exec",
            "c1",
            "--",
            "sh",
            "-c",
            "echo mine > /etc/new/folder/once; echo mine > /etc/made; echo mine > /etc/started",
        ])
        .ok();
    server.lxc(&["restart", "--force", "c1"]).ok();
    see(rendered(&server, "c1"));
    server.lxc(&["stop", "--force", "c1"]).ok();
    server.lxc(&["copy", "c1", "c2"]).ok();
    server.lxc(&["start", "c2"]).ok();
    see(rendered(&server, "c2"));

    for (input, args) in [
        ("", &["config", "template", "list", "c1"][..]),
        ("", &["config", "template", "list", "c1", "--format=csv"]),
        ("", &["config", "template", "show", "c1", "passwd.tpl"]),
        ("", &["config", "template", "create", "c1", "new.tpl"]),
        (
            "text {{ trigger }}",
            &["config", "template", "edit", "c1", "new.tpl"],
        ),
        ("", &["config", "template", "show", "c1", "new.tpl"]),
        ("", &["config", "template", "delete", "c1", "new.tpl"]),
        ("", &["config", "template", "show", "c1", "new.tpl"]),
        ("", &["config", "template", "delete", "c1", "new.tpl"]),
        ("", &["config", "template", "show", "c1", "../metadata.yaml"]),
        ("", &["config", "template", "list", "none"]),
        (
            "architecture: x86_64\nproperties:\n  os: Other\n",
            &["config", "metadata", "edit", "c1"],
        ),
        ("", &["config", "metadata", "show", "c1"]),
        ("", &["config", "metadata", "show", "none"]),
    ] {
        let done = server.client(kind, args, input);
        seen.push(normalised(
            &server,
            &format!("{args:?}: {} {}{}", done.code, done.out, done.err),
        ));
    }
    for (method, path, body) in [
        ("GET", "/1.0/instances/c2/metadata", ""),
        (
            "PATCH",
            "/1.0/instances/c2/metadata",
            r#"{"properties":{"a":"b"}}"#,
        ),
        ("GET", "/1.0/instances/c2/metadata/templates", ""),
        ("GET", "/1.0/instances/c2/metadata/templates?path=none.tpl", ""),
        ("POST", "/1.0/instances/c2/metadata/templates", "x"),
        ("DELETE", "/1.0/instances/c2/metadata/templates", ""),
        ("DELETE", "/1.0/instances/none/metadata/templates?path=x", ""),
    ] {
        let (code, text) = server.raw(method, path, body);
        let text = text.replace(r#""properties":null"#, r#""properties":{}"#);
        seen.push(normalised(&server, &format!("{method} {path}: {code} {text}")));
    }
    seen
}

#[test]
fn files_are_rendered_as_by_the_reference() {
    let reference = story(Kind::Reference, "dir");
    for driver in ["dir", "overlay"] {
        let ours = story(Kind::Ours, driver);
        let differ: Vec<_> = ours.iter().zip(&reference).filter(|(a, b)| a != b).collect();
        assert!(differ.is_empty(), "{driver}: {differ:#?}");
    }
}

#[test]
fn templates_reach_nothing_outside() {
    let server = Server::ready(Kind::Ours, "dir");
    let secret = server.scratch().join("secret");
    std::fs::write(&secret, "secret\n").unwrap();
    let file = image::busybox(server.scratch(), "tar.gz");
    server
        .lxc(&["image", "import", file.to_str().unwrap(), "--alias", "bb"])
        .ok();
    let secret = secret.to_str().unwrap();
    let include = format!("{{% include \"{secret}\" %}}");
    for (path, template, source) in [
        ("/etc/x", "t.tpl", include.as_str()),
        ("/etc/x", "../../../../../../../../etc/passwd", ""),
        ("/../../../../../../etc/x", "t.tpl", "x"),
        ("etc/x", "t.tpl", "x"),
        ("/dev", "t.tpl", "x"),
        (
            "/etc/x",
            "t.tpl",
            "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}",
        ),
        ("/etc/x", "t.tpl", "{{ broken"),
    ] {
        server.lxc(&["init", "bb", "c1"]).ok();
        let metadata = format!(
            "architecture: x86_64\ntemplates:\n  {path:?}:\n    when: [start]\n    template: {template:?}\n"
        );
        server.client(Kind::Ours, &["config", "metadata", "edit", "c1"], &metadata);
        server.client(Kind::Ours, &["config", "template", "edit", "c1", "t.tpl"], source);
        let error = server.lxc(&["start", "c1"]).failed();
        assert!(
            error.contains("Failed to apply templates"),
            "{path} {template} {source}: {error}"
        );
        assert_eq!(server.lxc(&["list", "-f", "csv", "-c", "s"]).ok(), "STOPPED\n");
        server.lxc(&["delete", "c1"]).ok();
    }
    assert_eq!(std::fs::read_to_string(secret).unwrap(), "secret\n");

    // Links inside lead where the instance sees them.
    server.lxc(&["init", "bb", "c2"]).ok();
    let root = server.dir().join("containers/c2/rootfs");
    std::os::unix::fs::symlink(secret, root.join("etc/x")).unwrap();
    std::fs::create_dir_all(root.join(secret.trim_start_matches('/')).parent().unwrap()).unwrap();
    let metadata = "architecture: x86_64\ntemplates:\n  /etc/x:\n    when: [start]\n    template: t.tpl\n";
    server.client(Kind::Ours, &["config", "metadata", "edit", "c2"], metadata);
    server.client(
        Kind::Ours,
        &["config", "template", "edit", "c2", "t.tpl"],
        "inside",
    );
    server.lxc(&["start", "c2"]).ok();
    assert_eq!(std::fs::read_to_string(secret).unwrap(), "secret\n");
    assert_eq!(server.lxc(&["exec", "c2", "--", "cat", secret]).ok(), "inside");
}
