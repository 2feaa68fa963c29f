//! Networks in a daemon without listeners; their bridges are real.

use std::path::Path;

use lxd_api::profiles::ProfilesPost;
use lxd_api::projects::ProjectsPost;
use serde_json::json;

use super::*;
use crate::operations::testing;
use crate::testing::{TestApp, restricted, root};
use crate::{profiles, projects as project_cases};

/// A daemon whose bridges, named with a prefix of their own, go with it whatever happens.
struct Host {
    app: TestApp,
    prefix: String,
}

impl Host {
    async fn start() -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string();
        Self {
            app: TestApp::start().await,
            prefix: format!("lxt{}", &id[..8]),
        }
    }

    fn name(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.prefix)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let prefix = self.prefix.clone();
        let removed = lxd_sys::netlink::Socket::open().and_then(|mut socket| {
            for link in socket
                .links()?
                .iter()
                .filter(|link| link.name.starts_with(&prefix))
            {
                socket.delete_link(&link.name)?;
            }
            Ok(())
        });
        if let Err(error) = removed {
            eprintln!("bridges may be left: {error}");
        }
    }
}

fn is_up(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

/// A bridge without addresses, so that nothing but the link is made.
fn post(name: &str) -> NetworksPost {
    let config = [("ipv4.address", "none"), ("ipv6.address", "none")];
    NetworksPost {
        name: name.into(),
        config: config
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..NetworksPost::default()
    }
}

#[tokio::test]
async fn a_network_is_made_changed_renamed_and_deleted() {
    let host = Host::start().await;
    let (app, ctx) = (&host.app, root());
    let a = host.name("a");
    assert_eq!(
        create(app, &ctx, post(&a)).await.unwrap(),
        format!("/1.0/networks/{a}")
    );
    assert!(is_up(&a));
    let shown = get(app, &ctx, &a).await.unwrap();
    let network = &shown.value.0;
    assert_eq!(
        (
            network.r#type.as_str(),
            network.managed,
            network.status.as_str(),
            network.locations.as_slice()
        ),
        ("bridge", true, "Created", &["none".to_owned()][..])
    );
    assert_eq!(state(app, &ctx, &a).await.unwrap().r#type, "broadcast");
    assert!(leases(app, &ctx, &a).await.unwrap().is_empty());
    assert_eq!(
        urls(app, &ctx).await.unwrap()[0],
        format!("/1.0/networks/{a}"),
        "ours are first"
    );
    let listed = list(app, &ctx).await.unwrap();
    let names: Vec<_> = listed.iter().map(|shown| shown.0.name.as_str()).collect();
    assert_eq!(names.iter().filter(|name| **name == a).count(), 1, "{names:?}");
    assert!(names.contains(&"lo"));

    let patch_with = json!({"config": {"bridge.mtu": "1400"}, "description": "d"});
    let stale = patch(app, &ctx, &a, patch_with.clone(), Some("0"))
        .await
        .unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::PreconditionFailed);
    patch(app, &ctx, &a, patch_with, Some(&shown.etag)).await.unwrap();
    assert_eq!(state(app, &ctx, &a).await.unwrap().mtu, 1400);
    let unknown = patch(app, &ctx, &a, json!({"config": {"foo": "x"}}), None)
        .await
        .unwrap_err();
    assert_eq!(
        unknown.text(),
        format!("Invalid option for network {a:?} option \"foo\"")
    );
    assert_eq!(unknown.kind(), ErrorKind::BadRequest);

    let device = [("type", "nic"), ("network", a.as_str())];
    let profile = ProfilesPost {
        name: "p".into(),
        devices: [(
            "eth0".to_owned(),
            device
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        )]
        .into(),
        ..ProfilesPost::default()
    };
    profiles::create(app, &ctx, profile).await.unwrap();
    assert_eq!(
        get(app, &ctx, &a).await.unwrap().value.0.used_by,
        ["/1.0/profiles/p"]
    );
    let in_use = delete(app, &ctx, &a).await.unwrap_err();
    assert_eq!(
        (in_use.kind(), in_use.text().as_str()),
        (ErrorKind::BadRequest, "The network is currently in use")
    );
    assert_eq!(
        rename(app, &ctx, &a, "other").await.unwrap_err().text(),
        "Network is currently in use"
    );
    profiles::delete(app, &ctx, "p").await.unwrap();
    delete(app, &ctx, &a).await.unwrap();
    assert!(!is_up(&a) && !app.paths.network(&a).exists());
    let gone = delete(app, &ctx, &a).await.unwrap_err();
    assert_eq!(gone.text(), "Failed loading network: Network not found");
}

#[tokio::test]
async fn a_network_gets_another_name_and_is_taken_down_with_the_host() {
    let host = Host::start().await;
    let (app, ctx) = (&host.app, root());
    let (a, b) = (host.name("a"), host.name("b"));
    create(app, &ctx, post(&a)).await.unwrap();
    for (name, kind, text) in [
        (
            "",
            ErrorKind::BadRequest,
            "New network name not provided".to_owned(),
        ),
        (
            "a b",
            ErrorKind::BadRequest,
            "Network interface contains invalid characters".to_owned(),
        ),
        (
            "lo",
            ErrorKind::Internal,
            "Network interface \"lo\" already exists".to_owned(),
        ),
        (&a, ErrorKind::Conflict, format!("Network {a:?} already exists")),
    ] {
        let error = rename(app, &ctx, &a, name).await.unwrap_err();
        assert_eq!((error.kind(), error.text()), (kind, text));
    }
    rename(app, &ctx, &a, &b).await.unwrap();
    assert!(is_up(&b) && !is_up(&a));
    assert_eq!(get(app, &ctx, &b).await.unwrap().value.0.name, b);
    stop_all(app).await;
    assert!(!is_up(&b));
    delete(app, &ctx, &b).await.unwrap();
    assert!(!app.paths.network(&b).exists());
}

#[tokio::test]
async fn what_is_refused_leaves_nothing() {
    let host = Host::start().await;
    let (app, ctx) = (&host.app, root());
    let name = host.name("a");
    let with = |key: &str, value: &str| {
        let mut post = post(&name);
        post.config.insert(key.into(), value.into());
        post
    };
    let typed = |kind: &str| NetworksPost {
        r#type: kind.into(),
        ..post(&name)
    };
    for (post, kind, text) in [
        (post(""), ErrorKind::BadRequest, "No name provided".to_owned()),
        (
            post("a"),
            ErrorKind::BadRequest,
            "Network interface is too short (minimum 2 characters)".into(),
        ),
        (
            post("lo"),
            ErrorKind::Internal,
            "Network interface \"lo\" already exists".into(),
        ),
        (typed("foo"), ErrorKind::BadRequest, "Unknown driver".into()),
        (
            with("foo", "x"),
            ErrorKind::Internal,
            format!("Invalid option for network {name:?} option \"foo\""),
        ),
        (
            with("ipv4.address", "bar"),
            ErrorKind::Internal,
            format!("Invalid value for network {name:?} option \"ipv4.address\": invalid CIDR address: bar"),
        ),
        (
            typed("macvlan"),
            ErrorKind::Internal,
            format!("Invalid value for network {name:?} option \"parent\": Required value"),
        ),
        (
            typed("ovn"),
            ErrorKind::NotImplemented,
            "Network type \"ovn\" is not implemented on this server".into(),
        ),
    ] {
        let error = create(app, &ctx, post).await.unwrap_err();
        assert_eq!((error.text(), error.kind()), (text, kind));
        let own = list(app, &ctx)
            .await
            .unwrap()
            .into_iter()
            .any(|shown| shown.0.managed);
        assert!(!own && !is_up(&name));
    }
    assert!(is_up("lo"));
    create(app, &ctx, post(&name)).await.unwrap();
    let taken = create(app, &ctx, post(&name)).await.unwrap_err();
    assert_eq!(
        (taken.kind(), taken.text().as_str()),
        (ErrorKind::BadRequest, "The network already exists")
    );
    delete(app, &ctx, &name).await.unwrap();
}

#[tokio::test]
async fn projects_see_the_networks_that_they_may_use() {
    let host = Host::start().await;
    let (app, ctx) = (&host.app, root());
    let name = host.name("a");
    create(app, &ctx, post(&name)).await.unwrap();
    for (project, key) in [
        ("plain", "user.x"),
        ("own", "features.networks"),
        ("tight", "restricted"),
    ] {
        let post = ProjectsPost {
            name: project.into(),
            config: [(key.to_owned(), "true".to_owned())].into(),
            ..ProjectsPost::default()
        };
        project_cases::create(app, &ctx, post).await.unwrap();
    }
    assert!(get(app, &ctx.in_project("plain"), &name).await.is_ok());
    assert!(get(app, &ctx.in_project("plain"), "lo").await.is_ok());
    assert!(get(app, &ctx.in_project("tight"), &name).await.is_ok());
    assert!(get(app, &ctx.in_project("tight"), "lo").await.is_err());
    assert!(urls(app, &ctx.in_project("own")).await.unwrap().is_empty());
    assert_eq!(
        get(app, &ctx.in_project("own"), &name).await.unwrap_err().text(),
        "Network not found"
    );
    let bridge = NetworksPost {
        r#type: "bridge".into(),
        ..post(&host.name("b"))
    };
    let refused = create(app, &ctx.in_project("own"), bridge).await.unwrap_err();
    assert_eq!(
        refused.text(),
        "Network type does not support non-default projects"
    );
    let missing = urls(app, &ctx.in_project("nosuch")).await.unwrap_err();
    assert_eq!(
        missing.text(),
        "Failed to load project \"nosuch\": Project not found"
    );

    let client = restricted(&["tight"]);
    let seen = urls(app, &client).await.unwrap();
    assert_eq!(seen, [format!("/1.0/networks/{name}")]);
    assert!(list(app, &client.in_project("default")).await.is_err());
    assert_eq!(
        delete(app, &client, &name).await.unwrap_err().kind(),
        ErrorKind::Forbidden
    );
    delete(app, &ctx, &name).await.unwrap();
}

#[tokio::test]
async fn works_are_whole_at_every_step() {
    let host = Host::start().await;
    let (app, ctx) = (&host.app, root());
    let (a, b) = (host.name("a"), host.name("b"));
    let stored = Stored {
        id: 0,
        project: "default".into(),
        kind: "bridge".into(),
        name: a.clone(),
        description: String::new(),
        config: post(&a).config,
    };
    let is_clean = async || {
        assert!(!is_up(&a) && !is_up(&b) && !app.paths.network(&a).exists());
        assert!(
            urls(app, &ctx)
                .await
                .unwrap()
                .iter()
                .all(|url| !url.contains(&host.prefix))
        );
    };
    let remove = async || delete(app, &ctx, &a).await.unwrap();
    testing::check_with(app, &ctx, || works::Create::new(stored.clone()), remove, is_clean).await;

    create(app, &ctx, post(&a)).await.unwrap();
    let mut tx = app.cluster.read().await.unwrap();
    let row = rows::get(&mut tx, "default", &a, app.cluster.node_id())
        .await
        .unwrap();
    drop(tx);
    let old = Stored::of(&row);
    let mut new = old.clone();
    new.config.insert("bridge.mtu".into(), "1400".into());
    let is_as_before = async || {
        assert!(!is_up(&b));
        assert_eq!(state(app, &ctx, &a).await.unwrap().mtu, 1500);
        let shown = get(app, &ctx, &a).await.unwrap().value.0;
        assert_eq!((shown.config, shown.name), (old.config.clone(), a.clone()));
    };
    let update = || works::Update {
        old: old.clone(),
        new: new.clone(),
    };
    let go_back = async || {
        let config = json!({"config": {"bridge.mtu": ""}});
        patch(app, &ctx, &a, config, None).await.unwrap();
    };
    testing::check_with(app, &ctx, update, go_back, is_as_before).await;
    let again = || works::Rename {
        network: old.clone(),
        name: b.clone(),
        is_free: true,
    };
    let name_back = async || drop(rename(app, &ctx, &b, &a).await.unwrap());
    testing::check_with(app, &ctx, again, name_back, is_as_before).await;

    let is_there_or_gone = async || {
        let is_listed = urls(app, &ctx)
            .await
            .unwrap()
            .iter()
            .any(|url| url.contains(&host.prefix));
        assert!(is_listed || !is_up(&a));
    };
    let last = || works::Delete { network: old.clone() };
    testing::death_at_every_step(app, &ctx, &last, &async || (), &is_there_or_gone).await;
    is_clean().await;
}
