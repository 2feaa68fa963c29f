//! Images of other servers: simplestreams, another LXD, a file on a web server; asked of both daemons.

use std::time::Duration;

use lxd_e2e::compare::normalised;
use lxd_e2e::program::{patiently, sh};
use lxd_e2e::socket::{Fate, ask, fate};
use lxd_e2e::streams::{self, Version};
use lxd_e2e::web::{Page, Web};
use lxd_e2e::{Kind, Server};
use serde_json::{Value, json};

const BOTH: [Kind; 2] = [Kind::Ours, Kind::Reference];

/// A web server with two versions of an image, of which only the first is on its lists.
struct Site {
    web: Web,
    one: Version,
    two: Version,
    _folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("lxt").tempdir_in("/tmp").unwrap();
        let web = Web::start(folder.path());
        let one = streams::version(&web, folder.path(), "20230101");
        let mut two = streams::version(&web, folder.path(), "20230201");
        two.differ(&web, folder.path(), &one);
        streams::publish(&web, &[&one]);
        let direct = |fingerprint: String, at: String| Page {
            headers: vec![
                ("LXD-Image-Hash".to_owned(), fingerprint),
                ("LXD-Image-URL".to_owned(), at),
            ],
            ..Page::default()
        };
        let file = format!("{}{}", web.url(), one.path("lxd_combined.tar.gz"));
        let hash = one.sha256("lxd_combined.tar.gz");
        web.put("/direct", direct(hash.clone(), file.clone()));
        web.put("/wrong", direct("0".repeat(64), file));
        web.put(
            "/missing",
            direct("1".repeat(64), format!("{}/nothing", web.url())),
        );
        web.put("/unsaid", direct(hash, String::new()));
        web.put_bytes("/silent", "");
        Self {
            web,
            one,
            two,
            _folder: folder,
        }
    }

    fn server(&self, kind: Kind) -> Server {
        let server = Server::start_with(
            kind,
            &[("SSL_CERT_FILE", self.web.certificate().to_str().unwrap())],
        );
        server.set_up("dir");
        server
    }

    /// A request for an image of the lists.
    fn listed(&self, alias: &str) -> Value {
        json!({"type": "image", "mode": "pull", "server": self.web.url(), "protocol": "simplestreams", "alias": alias})
    }

    /// What users see of an answer, without what differs between servers of this test.
    fn plain(&self, server: &Server, text: &str) -> String {
        normalised(server, text).replace(&self.web.url(), "WEB")
    }
}

fn post(server: &Server, body: &Value) -> Fate {
    fate(server, "POST", "/1.0/images", body)
}

fn images(server: &Server) -> Vec<Value> {
    let (_, answer) = ask(server, "GET", "/1.0/images?recursion=1", &Value::Null);
    answer["metadata"]
        .as_array()
        .unwrap()
        .iter()
        .map(sorted)
        .collect()
}

/// The same with the keys of all objects in order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let map: std::collections::BTreeMap<_, _> = map.iter().collect();
            let entry = |(key, value): (&String, &Value)| (key.clone(), sorted(value));
            Value::Object(map.into_iter().map(entry).collect())
        }
        Value::Array(all) => Value::Array(all.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

fn wipe(server: &Server) {
    for image in images(server) {
        let path = format!("/1.0/images/{}", image["fingerprint"].as_str().unwrap());
        fate(server, "DELETE", &path, &Value::Null);
    }
}

#[test]
fn images_of_lists_and_of_urls_are_the_same_on_both() {
    let site = Site::new();
    let url = |path: &str| json!({"source": {"type": "url", "url": format!("{}{path}", site.web.url())}});
    let of = |alias: &str| json!({"source": site.listed(alias)});
    let with = |mut body: Value, key: &str, value: Value| {
        body[key] = value;
        body
    };
    let source = |alias: &str, key: &str, value: &str| {
        let mut body = of(alias);
        body["source"][key] = value.into();
        body
    };
    let asks = [
        of("bb"),
        of("busybox/one/amd64"),
        of("nosuch"),
        of(&site.one.fingerprint()[..20]),
        source("bb", "image_type", "virtual-machine"),
        source("bb", "protocol", "nosuch"),
        source("bb", "certificate", "junk"),
        source("uni", "image_type", "virtual-machine"),
        with(
            with(of("uni"), "public", true.into()),
            "aliases",
            json!([{"name": "u", "description": "d"}]),
        ),
        with(of("uni"), "aliases", json!([{"name": "u"}])),
        with(
            with(of("uni"), "filename", "f".into()),
            "properties",
            json!({"mine": "1"}),
        ),
        with(of("bb"), "auto_update", true.into()),
        json!({"source": {"type": "image", "server": "https://127.0.0.1:1", "protocol": "simplestreams", "alias": "x"}}),
        json!({"source": {"type": "image", "server": "https://127.0.0.1:1", "alias": "x"}}),
        json!({"source": {"type": "image", "server": site.web.url(), "protocol": "simplestreams"}}),
        url("/wrong"),
        url("/missing"),
        url("/silent"),
        url("/unsaid"),
        url("/nothing"),
        url("/direct"),
    ];
    let told = BOTH.map(|kind| {
        let server = site.server(kind);
        let mut told = Vec::new();
        for body in &asks {
            let fate = post(&server, body);
            told.push(format!("{body}\n  {fate:?}\n  {:?}", images(&server)));
        }
        wipe(&server);
        told.iter()
            .map(|text| site.plain(&server, text))
            .collect::<Vec<_>>()
    });
    for (ours, reference) in told[0].iter().zip(&told[1]) {
        assert_eq!(ours, reference);
    }
}

#[test]
fn what_a_server_sends_is_checked_and_leaves_nothing_when_it_is_wrong() {
    let site = Site::new();
    let path = site.one.path("root.squashfs");
    let whole = site.web.remove(&path).unwrap();
    let longer = Page {
        body: [whole.body.as_slice(), b"more"].concat(),
        ..whole.clone()
    };
    let cut = Page {
        breaks: vec![5000],
        has_ranges: false,
        ..whole.clone()
    };
    let told = BOTH.map(|kind| {
        let server = site.server(kind);
        let mut told = Vec::new();
        for page in [None, Some(&longer), Some(&cut)] {
            site.web.remove(&path);
            if let Some(page) = page {
                site.web.put(&path, page.clone());
            }
            let fate = post(&server, &json!({"source": site.listed("bb")}));
            assert_ne!(fate.status, 200);
            told.push(site.plain(&server, &fate.error));
            assert!(images(&server).is_empty());
            assert_eq!(std::fs::read_dir(server.dir().join("images")).unwrap().count(), 0);
        }
        told
    });
    assert_eq!(told[0], told[1]);
}

#[test]
fn a_broken_download_goes_on_and_is_shared() {
    let site = Site::new();
    let path = site.one.path("root.squashfs");
    site.web.change(&path, |page| {
        page.breaks = vec![100_000, 200_000, usize::MAX];
        page.pause = Duration::from_millis(20);
    });
    let server = site.server(Kind::Ours);
    let begin = || {
        let (_, answer) = ask(
            &server,
            "POST",
            "/1.0/images",
            &json!({"source": site.listed("bb")}),
        );
        answer["operation"].as_str().unwrap().to_owned()
    };
    let operations: Vec<String> = (0..3).map(|_| begin()).collect();
    patiently("progress", || {
        operations.iter().any(|operation| {
            let (_, shown) = ask(&server, "GET", operation, &Value::Null);
            shown["metadata"]["metadata"]["download_progress"]
                .as_str()
                .is_some_and(|text| text.starts_with("rootfs: "))
        })
    });
    for operation in &operations {
        let (_, done) = ask(&server, "GET", &format!("{operation}/wait"), &Value::Null);
        assert_eq!(done["metadata"]["status_code"], 200, "{done}");
    }
    let asked = site.web.asked();
    let files: Vec<&String> = asked.iter().filter(|line| line.contains(&path)).collect();
    let expected = [
        format!("GET {path}"),
        format!("GET {path} 100000-"),
        format!("GET {path} 300000-"),
    ];
    assert_eq!(files, expected.iter().collect::<Vec<_>>());
    wipe(&server);
    site.web
        .change(&path, |page| page.pause = Duration::from_millis(500));
    let operation = begin();
    patiently("the download", || !site.web.asked().is_empty());
    ask(&server, "DELETE", &operation, &Value::Null);
    let (_, done) = ask(&server, "GET", &format!("{operation}/wait"), &Value::Null);
    assert_eq!(done["metadata"]["err"], "context canceled");
    patiently("no rest", || {
        std::fs::read_dir(server.dir().join("images")).unwrap().count() == 0
    });
}

#[test]
fn instances_are_made_of_images_of_other_servers() {
    let site = Site::new();
    let told = BOTH.map(|kind| {
        let server = site.server(kind);
        let make = |name: &str, source: Value| {
            fate(
                &server,
                "POST",
                "/1.0/instances",
                &json!({"name": name, "source": source}),
            )
        };
        let mut told = vec![
            format!("{:?}", make("a", site.listed("bb"))),
            format!("{:?}", make("b", site.listed("nosuch"))),
            format!("{:?}", make("b", site.listed(""))),
        ];
        // What is here and follows its source is good enough.
        streams::publish(&site.web, &[&site.one, &site.two]);
        site.web.asked();
        told.push(format!("{:?}", make("c", site.listed("bb"))));
        assert!(site.web.asked().is_empty());
        streams::publish(&site.web, &[&site.one]);
        told.push(format!("{:?}", images(&server)));
        server.lxc(&["start", "a"]).ok();
        let issue = server.lxc(&["exec", "a", "--", "cat", "/etc/issue"]).ok();
        assert_eq!(issue, "20230101");
        server.lxc(&["delete", "-f", "a", "c"]).ok();
        wipe(&server);
        told.iter()
            .map(|text| site.plain(&server, text))
            .collect::<Vec<_>>()
    });
    for (ours, reference) in told[0].iter().zip(&told[1]) {
        assert_eq!(ours, reference);
    }
}

#[test]
fn an_image_follows_its_source() {
    let site = Site::new();
    let told = BOTH.map(|kind| {
        streams::publish(&site.web, &[&site.one]);
        let server = site.server(kind);
        let body = json!({"source": site.listed("bb"), "auto_update": true, "aliases": [{"name": "one"}, {"name": "two"}]});
        assert_eq!(post(&server, &body).status, 200);
        let path = format!("/1.0/images/{}/refresh", site.one.fingerprint());
        let refresh = || {
            let (_, begun) = ask(&server, "POST", &path, &Value::Null);
            let operation = begun["operation"].as_str().unwrap_or_default().to_owned();
            let (_, done) = ask(&server, "GET", &format!("{operation}/wait"), &Value::Null);
            done["metadata"]["metadata"].to_string()
        };
        let mut told = vec![refresh()];
        streams::publish(&site.web, &[&site.one, &site.two]);
        if kind == Kind::Reference {
            // It looks at its copy of the lists for an hour.
            let cache = server.dir().join("cache");
            sh("sh", &["-c", &format!("rm -rf {}/*", cache.display())]).ok();
        }
        // The difference to what is here is enough.
        let whole = site.web.remove(&site.two.path("root.squashfs")).unwrap();
        told.push(refresh());
        site.web.put(&site.two.path("root.squashfs"), whole);
        told.push(format!("{:?}", images(&server)));
        let mut names: Vec<_> = std::fs::read_dir(server.dir().join("images"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        told.push(format!("{names:?}"));
        wipe(&server);
        told.iter().map(|text| site.plain(&server, text)).collect::<Vec<_>>()
    });
    assert_eq!(told[0], told[1]);
    assert!(told[0][1].contains("true"), "{:?}", told[0]);
}

/// Makes a server listen on a free port; gives its URL.
pub(crate) fn listen(server: &Server) -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    server
        .lxc(&[
            "config",
            "set",
            "core.https_address",
            &format!("127.0.0.1:{port}"),
        ])
        .ok();
    format!("https://127.0.0.1:{port}")
}

fn certificate(server: &Server) -> String {
    std::fs::read_to_string(server.dir().join("server.crt")).unwrap()
}

#[test]
fn images_go_between_ours_and_the_reference() {
    let site = Site::new();
    for (from, to) in [
        (Kind::Ours, Kind::Reference),
        (Kind::Reference, Kind::Ours),
        (Kind::Ours, Kind::Ours),
    ] {
        let (source, target) = (site.server(from), site.server(to));
        let url = listen(&source);
        for (alias, public) in [("bb", true), ("uni", false)] {
            let body = json!({"source": site.listed(alias), "public": public, "aliases": [{"name": alias}]});
            assert_eq!(post(&source, &body).error, "");
        }
        let private = site.one.sha256("lxd_combined.tar.gz");
        let pull = |key: &str, value: &str, secret: &str| {
            let mut of = json!({"type": "image", "server": url, "protocol": "lxd", "secret": secret,
                                "certificate": certificate(&source)});
            of[key] = value.into();
            post(&target, &json!({"source": of})).error
        };
        assert_eq!(pull("alias", "bb", ""), "", "{from:?} to {to:?}");
        let unseen = format!("Failed getting remote image info: Image \"{private}\" not found");
        assert_eq!(pull("fingerprint", &private, ""), unseen);
        assert_eq!(
            pull("alias", "uni", ""),
            "Failed getting remote image info: Image not found"
        );
        let (_, token) = ask(
            &source,
            "POST",
            &format!("/1.0/images/{private}/secret"),
            &Value::Null,
        );
        let secret = token["metadata"]["metadata"]["secret"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(pull("fingerprint", &private, &secret), "");
        let mut held: Vec<Value> = images(&target)
            .iter()
            .map(|image| image["fingerprint"].clone())
            .collect();
        held.sort_by_key(ToString::to_string);
        let mut expected = [site.one.fingerprint(), private.clone()];
        expected.sort();
        assert_eq!(held, expected);
        let untrusted = json!({"source": {"type": "image", "server": url, "protocol": "lxd", "alias": "bb"}});
        let error = post(&target, &untrusted).error;
        assert!(
            error.ends_with("x509: certificate signed by unknown authority"),
            "{error}"
        );
        wipe(&target);
        for fingerprint in &expected {
            push(&source, &target, fingerprint);
        }
        wipe(&target);
        wipe(&source);
    }
}

/// Lets the source send an image to the target, which was told of it.
fn push(source: &Server, target: &Server, fingerprint: &str) {
    let url = listen(target);
    let wish = json!({"source": {"mode": "push", "type": "image", "fingerprint": fingerprint},
                      "properties": {"pushed": "yes"}, "public": true});
    let (_, token) = ask(target, "POST", "/1.0/images", &wish);
    let secret = token["metadata"]["metadata"]["secret"].as_str().unwrap();
    let body =
        json!({"target": url, "secret": secret, "certificate": certificate(target), "project": "default"});
    let sent = fate(
        source,
        "POST",
        &format!("/1.0/images/{fingerprint}/export"),
        &body,
    );
    assert_eq!(sent.error, "");
    let (_, image) = ask(target, "GET", &format!("/1.0/images/{fingerprint}"), &Value::Null);
    assert_eq!(image["metadata"]["properties"]["pushed"], "yes", "{image}");
    assert_eq!(image["metadata"]["public"], true);
}
