//! Instances, their snapshots and backups, and the profiles they have.

use std::time::Instant;

use jiff::Timestamp;

use super::super::instances::{self, Content, Filter, NewInstance, backups, snapshots};
use super::super::{InstanceType, Tx, profiles, projects, used_by};
use super::{cluster, config, devices};
use crate::{Error, time};

pub(super) fn new_instance(project: &str, name: &str) -> NewInstance {
    NewInstance {
        project: project.to_owned(),
        name: name.to_owned(),
        node_id: 1,
        kind: InstanceType::Container,
        stateful: false,
        created_at: "2026-11-24T03:23:46.139090462Z".parse().unwrap(),
        last_used_at: Timestamp::UNIX_EPOCH,
        content: Content {
            architecture: "x86_64".to_owned(),
            ephemeral: true,
            description: "a \"quoted\" grüße".to_owned(),
            expires_at: time::ZERO,
            config: config([
                ("user.a", "it's; fine\nand so on"),
                ("user.empty", ""),
                ("volatile.uuid", "x"),
            ]),
            devices: devices([
                ("eth0", config([("type", "nic"), ("network", "lxdbr0")])),
                ("none", config([("type", "none")])),
            ]),
            profiles: vec!["default".to_owned()],
        },
    }
}

async fn make(tx: &mut Tx, project: &str, name: &str) -> i64 {
    instances::create(tx, &new_instance(project, name)).await.unwrap()
}

#[tokio::test]
async fn an_instance_is_read_as_it_was_made() {
    let (_directory, cluster) = cluster().await;
    let mut tx = cluster.begin().await.unwrap();
    let id = make(&mut tx, "default", "c1").await;
    let found = instances::get(&mut tx, "default", "c1").await.unwrap();
    let mut expected = new_instance("default", "c1");
    expected.content.config.remove("user.empty");
    assert_eq!(
        (found.id, found.name.as_str(), found.node.as_str()),
        (id, "c1", "none")
    );
    assert_eq!(
        (found.created_at, found.last_used_at),
        (expected.created_at, Timestamp::UNIX_EPOCH)
    );
    assert_eq!(found.config, expected.content.config);
    assert_eq!(found.devices, expected.content.devices);
    assert_eq!(found.profiles, ["default"]);
    assert_eq!(found.description, expected.content.description);
    assert!(found.ephemeral && !found.stateful && found.expires_at == time::ZERO);
    assert_eq!(instances::get_by_id(&mut tx, id).await.unwrap(), found);
    assert_eq!(instances::id(&mut tx, "default", "c1").await.unwrap(), id);
}

#[tokio::test]
async fn names_are_taken_per_project_and_missing_things_are_named() {
    let (_directory, cluster) = cluster().await;
    let mut tx = cluster.begin().await.unwrap();
    projects::create(&mut tx, "p", "", &config([("features.profiles", "false")]))
        .await
        .unwrap();
    make(&mut tx, "default", "c1").await;
    // Project `p` uses the default project's profiles.
    make(&mut tx, "p", "c1").await;
    let taken = instances::create(&mut tx, &new_instance("p", "c1"))
        .await
        .unwrap_err();
    assert_eq!(taken.to_string(), "This \"instances\" entry already exists");
    assert!(matches!(&taken, Error::Taken { name, .. } if name == "c1"));
    assert_eq!(taken.kind(), lxd_model::ErrorKind::Conflict);
    let missing = instances::get(&mut tx, "p", "c2").await.unwrap_err();
    assert_eq!(missing.to_string(), "Instance not found");
    let no_project = instances::create(&mut tx, &new_instance("q", "c1"))
        .await
        .unwrap_err();
    assert_eq!(no_project.to_string(), "Project not found");
    let mut no_profile = new_instance("default", "c3");
    no_profile.content.profiles.push("web".to_owned());
    let no_profile = instances::create(&mut tx, &no_profile).await.unwrap_err();
    assert_eq!(no_profile.to_string(), "Requested profile \"web\" doesn't exist");
}

#[tokio::test]
async fn a_change_leaves_what_a_replacement_would() {
    let (_directory, cluster) = cluster().await;
    let mut tx = cluster.begin().await.unwrap();
    make(&mut tx, "default", "c1").await;
    profiles::create(&mut tx, "default", "web", &profiles::Content::default())
        .await
        .unwrap();
    let first = instances::get(&mut tx, "default", "c1").await.unwrap();
    let base = new_instance("default", "c1").content;
    let with = |edit: &dyn Fn(&mut instances::Content)| {
        let mut content = base.clone();
        edit(&mut content);
        content
    };
    let disk = config([("type", "disk"), ("path", "/"), ("pool", "p")]);
    let changes = [
        with(&|content| content.config = config([("user.a", "1"), ("user.b", "2")])),
        with(&|content| content.config = config([("user.b", "3"), ("user.c", ""), ("user.d", "'\"\n")])),
        with(&|content| content.devices = devices([("root", disk.clone())])),
        with(&|content| content.profiles = vec!["web".into(), "default".into()]),
        with(&|content| content.description = "x".into()),
        with(&|content| content.ephemeral = !content.ephemeral),
        with(&|content| content.expires_at = Timestamp::now()),
        base.clone(),
    ];
    for new in changes {
        let old = instances::get(&mut tx, "default", "c1").await.unwrap();
        instances::change(&mut tx, &old, &new).await.unwrap();
        let changed = instances::get(&mut tx, "default", "c1").await.unwrap();
        assert_eq!(changed, old.clone().with(new.clone()));
        instances::update(&mut tx, old.id, &new).await.unwrap();
        assert_eq!(instances::get(&mut tx, "default", "c1").await.unwrap(), changed);
    }
    assert_eq!(instances::get(&mut tx, "default", "c1").await.unwrap(), first);
}

#[tokio::test]
async fn the_profiles_of_a_project_are_its_own_or_the_default_ones() {
    let (_directory, cluster) = cluster().await;
    let mut tx = cluster.begin().await.unwrap();
    for (project, own) in [("with", "true"), ("without", "false")] {
        projects::create(&mut tx, project, "", &config([("features.profiles", own)]))
            .await
            .unwrap();
    }
    for (project, name) in [("with", "default"), ("with", "a"), ("default", "b")] {
        profiles::create(&mut tx, project, name, &profiles::Content::default())
            .await
            .unwrap();
    }
    for (project, expected) in [
        ("default", ["b", "default"]),
        ("with", ["a", "default"]),
        ("without", ["b", "default"]),
    ] {
        let found = profiles::of_project(&mut tx, project).await.unwrap();
        let names: Vec<_> = found.iter().map(|profile| profile.name.as_str()).collect();
        assert_eq!(names, expected, "{project}");
    }
    let missing = profiles::of_project(&mut tx, "none").await.unwrap_err();
    assert!(matches!(missing, Error::NotFound { .. }), "{missing:?}");
}

#[tokio::test]
async fn an_instance_is_changed_renamed_and_deleted() {
    let (_directory, cluster) = cluster().await;
    let mut tx = cluster.begin().await.unwrap();
    let id = make(&mut tx, "default", "c1").await;
    for name in ["web", "db"] {
        profiles::create(&mut tx, "default", name, &profiles::Content::default())
            .await
            .unwrap();
    }
    let mut content = new_instance("default", "c1").content;
    content.profiles = vec!["web".to_owned(), "default".to_owned(), "db".to_owned()];
    content.config = config([("user.b", "2")]);
    content.devices = devices([("root", config([("type", "disk"), ("path", "/"), ("pool", "p")]))]);
    instances::update(&mut tx, id, &content).await.unwrap();
    instances::change_config(&mut tx, id, &config([("user.b", ""), ("volatile.x", "1")]))
        .await
        .unwrap();
    instances::set_stateful(&mut tx, id, true).await.unwrap();
    let now = Timestamp::now();
    instances::set_last_used(&mut tx, id, now).await.unwrap();
    instances::rename(&mut tx, id, "c2").await.unwrap();
    instances::set_node(&mut tx, id, "none").await.unwrap();
    let found = instances::get(&mut tx, "default", "c2").await.unwrap();
    assert_eq!(found.profiles, content.profiles);
    assert_eq!(found.config, config([("volatile.x", "1")]));
    assert_eq!(found.devices, content.devices);
    assert!(found.stateful && found.last_used_at == now);
    let web = profiles::id(&mut tx, "default", "web").await.unwrap();
    let users = used_by::profile(&mut tx, web).await.unwrap();
    assert_eq!(
        users,
        [used_by::User::Instance {
            project: "default".into(),
            name: "c2".into()
        }]
    );
    make(&mut tx, "default", "c3").await;
    assert!(matches!(
        instances::rename(&mut tx, id, "c3").await,
        Err(Error::Taken { .. })
    ));
    instances::delete(&mut tx, id).await.unwrap();
    let orphans = tx
        .query_once("SELECT count(*) FROM instances_devices_config WHERE value = 'p'")
        .await
        .unwrap();
    assert_eq!(orphans.first().unwrap().get::<i64>(0).unwrap(), 0);
}

#[tokio::test]
async fn snapshots_and_backups_belong_to_their_instance() {
    let (_directory, cluster) = cluster().await;
    let mut tx = cluster.begin().await.unwrap();
    let id = make(&mut tx, "default", "c1").await;
    let source = new_instance("default", "c1").content;
    let snapshot = snapshots::NewSnapshot {
        instance_id: id,
        name: "s1".to_owned(),
        created_at: Timestamp::now(),
        stateful: false,
        description: String::new(),
        expires_at: time::ZERO,
        config: source.config.clone(),
        devices: source.devices.clone(),
    };
    let snapshot_id = snapshots::create(&mut tx, &snapshot).await.unwrap();
    let taken = snapshots::create(&mut tx, &snapshot).await.unwrap_err();
    assert_eq!(
        taken.to_string(),
        "This \"instances_snapshots\" entry already exists"
    );
    snapshots::update(&mut tx, snapshot_id, "before", snapshot.created_at)
        .await
        .unwrap();
    snapshots::rename(&mut tx, snapshot_id, "s2").await.unwrap();
    let found = snapshots::list(&mut tx, &[id]).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].description.as_str(), found[0].expires_at),
        ("before", snapshot.created_at)
    );
    assert_eq!(found[0].devices, source.devices);
    assert_eq!(snapshots::get(&mut tx, id, "s2").await.unwrap(), found[0]);
    assert_eq!(
        snapshots::get(&mut tx, id, "s1").await.unwrap_err().to_string(),
        "InstanceSnapshot not found"
    );

    let backup = backups::Backup {
        id: 0,
        instance_id: id,
        name: "b0".to_owned(),
        created_at: snapshot.created_at,
        expires_at: time::ZERO,
        instance_only: true,
        optimized_storage: false,
    };
    let backup_id = backups::create(&mut tx, &backup).await.unwrap();
    instances::rename(&mut tx, id, "c2").await.unwrap();
    backups::rename(&mut tx, id, "b0", "b1").await.unwrap();
    let expected = backups::Backup {
        id: backup_id,
        name: "b1".to_owned(),
        ..backup
    };
    assert_eq!(backups::list(&mut tx, &[id]).await.unwrap(), [expected]);
    let stored = tx.query_once("SELECT name FROM instances_backups").await.unwrap();
    assert_eq!(stored.first().unwrap().get::<&str>(0).unwrap(), "c2/b1");
    assert_eq!(
        backups::get(&mut tx, id, "b0").await.unwrap_err().to_string(),
        "Instance backup not found"
    );
    backups::delete(&mut tx, backup_id).await.unwrap();
    snapshots::delete(&mut tx, snapshot_id).await.unwrap();
    assert!(snapshots::list(&mut tx, &[id]).await.unwrap().is_empty());
    assert!(backups::list(&mut tx, &[id]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_thousand_instances_are_listed_whole() {
    let (_directory, cluster) = cluster().await;
    let mut tx = cluster.begin().await.unwrap();
    projects::create(&mut tx, "other", "", &config([])).await.unwrap();
    make(&mut tx, "other", "elsewhere").await;
    for number in 0..1000 {
        make(&mut tx, "default", &format!("c{number:04}")).await;
    }
    tx.commit().await.unwrap();
    let mut tx = cluster.read().await.unwrap();
    let begun = Instant::now();
    let filter = Filter {
        project: Some("default"),
        ..Filter::default()
    };
    let found = instances::list(&mut tx, filter).await.unwrap();
    println!("1000 instances listed in {:?}", begun.elapsed());
    let expected = new_instance("default", "");
    assert_eq!(found.len(), 1000);
    for (number, instance) in found.iter().enumerate() {
        assert_eq!(instance.name, format!("c{number:04}"));
        assert_eq!(
            (instance.config.len(), &instance.devices),
            (2, &expected.content.devices)
        );
        assert_eq!(instance.profiles, ["default"]);
    }
    assert_eq!(
        instances::names(&mut tx, Filter::default()).await.unwrap().len(),
        1001
    );
    let machines = Filter {
        kind: Some(InstanceType::VirtualMachine),
        ..Filter::default()
    };
    assert!(instances::list(&mut tx, machines).await.unwrap().is_empty());
}
