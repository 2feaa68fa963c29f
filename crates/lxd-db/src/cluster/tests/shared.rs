//! What instances share: projects, profiles, networks, pools and volumes; and what the cluster keeps for itself.

use jiff::Timestamp;

use super::super::storage_volumes::{backups, snapshots};
use super::super::used_by::{self, User};
use super::super::{
    CertificateType, ContentType, NetworkType, State, Tx, VolumeType, certificates, config as cluster_config,
    instances, networks, nodes, operations, profiles, projects, storage_pools, storage_volumes, warnings,
};
use super::instances::new_instance;
use super::{cluster, config, devices};
use crate::{Error, time};

#[tokio::test]
async fn a_project_shares_what_it_has_no_feature_for() {
    let (_directory, cluster) = cluster().await;
    let mut tx = cluster.begin().await.unwrap();
    let features = config([
        ("features.images", "true"),
        ("features.profiles", "false"),
        ("limits.cpu", "4"),
    ]);
    projects::create(&mut tx, "p", "mine", &features).await.unwrap();
    let effective = projects::effective_all(&mut tx, "p").await.unwrap();
    let words = [
        effective.images,
        effective.networks,
        effective.profiles,
        effective.storage_volumes,
    ];
    assert_eq!(words, ["p", "default", "default", "default"]);
    let images = projects::effective(&mut tx, "p", projects::Feature::Images)
        .await
        .unwrap();
    assert_eq!(
        images,
        projects::effective_of_all(&mut tx).await.unwrap()["p"].images
    );
    assert_eq!(
        projects::effective_all(&mut tx, "q")
            .await
            .unwrap_err()
            .to_string(),
        "Project not found"
    );
    let default = projects::effective_all(&mut tx, "default").await.unwrap();
    assert_eq!(default.networks, "default");

    let taken = projects::create(&mut tx, "p", "", &config([])).await.unwrap_err();
    assert_eq!(taken.to_string(), "This \"projects\" entry already exists");
    projects::update(&mut tx, "p", "ours", &config([("limits.cpu", "2")]))
        .await
        .unwrap();
    projects::rename(&mut tx, "p", "q").await.unwrap();
    let found = projects::get(&mut tx, "q").await.unwrap();
    assert_eq!(
        (found.description.as_str(), found.config),
        ("ours", config([("limits.cpu", "2")]))
    );
    assert_eq!(projects::names(&mut tx).await.unwrap(), ["default", "q"]);
    projects::delete(&mut tx, "q").await.unwrap();
    assert!(projects::delete(&mut tx, "q").await.is_err());
    assert_eq!(projects::list(&mut tx).await.unwrap().len(), 1);
}

#[tokio::test]
async fn profiles_are_made_changed_and_deleted() {
    let (_directory, cluster) = cluster().await;
    let mut tx = cluster.begin().await.unwrap();
    let content = profiles::Content {
        description: "web servers".to_owned(),
        config: config([("limits.cpu", "2")]),
        devices: devices([("eth0", config([("type", "nic"), ("nictype", "p2p")]))]),
    };
    let id = profiles::create(&mut tx, "default", "web", &content)
        .await
        .unwrap();
    let taken = profiles::create(&mut tx, "default", "web", &content)
        .await
        .unwrap_err();
    assert_eq!(taken.to_string(), "The profile already exists");
    let found = profiles::get(&mut tx, "default", "web").await.unwrap();
    assert_eq!((found.config, found.devices), (content.config, content.devices));
    profiles::update(&mut tx, id, &profiles::Content::default())
        .await
        .unwrap();
    profiles::rename(&mut tx, id, "www").await.unwrap();
    let list = profiles::list(&mut tx, Some("default")).await.unwrap();
    assert_eq!(
        list.iter()
            .map(|profile| profile.name.as_str())
            .collect::<Vec<_>>(),
        ["default", "www"]
    );
    assert!(list[1].config.is_empty() && list[1].devices.is_empty());
    profiles::delete(&mut tx, id).await.unwrap();
    assert_eq!(
        profiles::get(&mut tx, "default", "www")
            .await
            .unwrap_err()
            .to_string(),
        "Profile not found"
    );
    let odd = profiles::Content {
        devices: devices([("x", config([("type", "floppy")]))]),
        ..Default::default()
    };
    let error = profiles::create(&mut tx, "default", "odd", &odd)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "Invalid device type \"floppy\"");
}

#[tokio::test]
async fn networks_keep_members_own_keys_apart() {
    let (_directory, cluster) = cluster().await;
    let mut tx = cluster.begin().await.unwrap();
    let new = networks::NewNetwork {
        project: "default".to_owned(),
        name: "lxdbr0".to_owned(),
        description: String::new(),
        kind: NetworkType::Bridge,
        config: config([
            ("ipv4.address", "10.0.0.1/24"),
            ("bridge.external_interfaces", "eth1"),
        ]),
    };
    let id = networks::create(&mut tx, &new, 1).await.unwrap();
    assert_eq!(
        networks::create(&mut tx, &new, 1).await.unwrap_err().to_string(),
        "The network already exists"
    );
    assert_eq!(
        networks::get(&mut tx, "default", "lxdbr0", 1)
            .await
            .unwrap()
            .state,
        State::Pending
    );
    networks::set_state(&mut tx, id, 1, State::Created).await.unwrap();
    let found = networks::get(&mut tx, "default", "lxdbr0", 1).await.unwrap();
    assert_eq!((found.state, &found.config), (State::Created, &new.config));
    assert_eq!(found.nodes, [("none".to_owned(), State::Created)]);
    // Another member sees only what is common.
    let elsewhere = networks::get(&mut tx, "default", "lxdbr0", 2).await.unwrap();
    assert_eq!(elsewhere.config, config([("ipv4.address", "10.0.0.1/24")]));
    networks::update(&mut tx, id, 1, "changed", &config([("ipv4.nat", "true")]))
        .await
        .unwrap();
    networks::rename(&mut tx, id, "lxdbr1").await.unwrap();
    let list = networks::list(&mut tx, None, 1).await.unwrap();
    assert_eq!(
        (list[0].name.as_str(), &list[0].config),
        ("lxdbr1", &config([("ipv4.nat", "true")]))
    );

    projects::create(&mut tx, "p", "", &config([("features.networks", "true")]))
        .await
        .unwrap();
    let card = |key: &str| devices([("eth0", config([("type", "nic"), (key, "lxdbr1")]))]);
    for (project, name, key) in [
        ("default", "c1", "network"),
        ("p", "c2", "network"),
        ("p", "c3", "parent"),
    ] {
        let mut instance = new_instance(project, name);
        instance.content.devices = card(key);
        instance.content.profiles.clear();
        instances::create(&mut tx, &instance).await.unwrap();
    }
    let content = profiles::Content {
        devices: card("network"),
        ..Default::default()
    };
    profiles::create(&mut tx, "default", "net", &content)
        .await
        .unwrap();
    let users = used_by::network(&mut tx, "default", "lxdbr1").await.unwrap();
    let expected = [
        User::Instance {
            project: "default".into(),
            name: "c1".into(),
        },
        User::Instance {
            project: "p".into(),
            name: "c3".into(),
        },
        User::Profile {
            project: "default".into(),
            name: "net".into(),
        },
    ];
    assert_eq!(users, expected);
    networks::delete(&mut tx, id).await.unwrap();
    assert_eq!(
        networks::get(&mut tx, "default", "lxdbr1", 1)
            .await
            .unwrap_err()
            .to_string(),
        "Network not found"
    );
}

/// A pool `p1` and in it a custom volume `v1`; gives both ids.
async fn pool_and_volume(tx: &mut Tx) -> (i64, i64) {
    let keys = config([("source", "/pool"), ("rsync.bwlimit", "1")]);
    let pool = storage_pools::create(tx, "p1", "dir", "", &keys, 1)
        .await
        .unwrap();
    let volume = storage_volumes::create(tx, volume_key(VolumeType::Custom, "v1"), Some(1), &content()).await;
    (pool, volume.unwrap())
}

fn volume_key(kind: VolumeType, name: &str) -> storage_volumes::Key<'_> {
    storage_volumes::Key {
        pool: "p1",
        project: "default",
        kind,
        name,
    }
}

fn content() -> storage_volumes::Content {
    storage_volumes::Content {
        content_type: ContentType::Filesystem,
        description: String::new(),
        config: config([("size", "1GiB")]),
    }
}

#[tokio::test]
async fn pools_keep_members_own_keys_apart() {
    let (_directory, cluster) = cluster().await;
    let mut tx = cluster.begin().await.unwrap();
    let (pool, _) = pool_and_volume(&mut tx).await;
    let taken = storage_pools::create(&mut tx, "p1", "dir", "", &config([]), 1)
        .await
        .unwrap_err();
    assert_eq!(taken.to_string(), "The storage pool already exists");
    storage_pools::set_state(&mut tx, pool, 1, State::Created)
        .await
        .unwrap();
    let found = storage_pools::get(&mut tx, "p1", 1).await.unwrap();
    assert_eq!(
        (found.state, found.config),
        (
            State::Created,
            config([("source", "/pool"), ("rsync.bwlimit", "1")])
        )
    );
    assert_eq!(found.nodes, [("none".to_owned(), State::Created)]);
    assert_eq!(
        storage_pools::get(&mut tx, "p1", 2).await.unwrap().config,
        config([("rsync.bwlimit", "1")])
    );
    storage_pools::update(&mut tx, pool, 1, "d", &config([]))
        .await
        .unwrap();
    assert_eq!(storage_pools::list(&mut tx, 1).await.unwrap()[0].description, "d");
    storage_pools::delete(&mut tx, pool).await.unwrap();
    assert_eq!(
        storage_pools::id(&mut tx, "p1").await.unwrap_err().to_string(),
        "Storage pool not found"
    );
    assert!(
        storage_volumes::list(&mut tx, storage_volumes::Filter::default())
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn volumes_are_made_changed_and_deleted() {
    let (_directory, cluster) = cluster().await;
    let mut tx = cluster.begin().await.unwrap();
    let (_, volume) = pool_and_volume(&mut tx).await;
    let key = volume_key(VolumeType::Custom, "v1");
    let taken = storage_volumes::create(&mut tx, key, Some(1), &content())
        .await
        .unwrap_err();
    assert_eq!(taken.to_string(), "Volume by that name already exists");
    storage_volumes::update(&mut tx, volume, "big", &config([("size", "2GiB")]))
        .await
        .unwrap();
    storage_volumes::change_config(&mut tx, volume, &config([("volatile.idmap.last", "[]")]))
        .await
        .unwrap();
    storage_volumes::rename(&mut tx, volume, "v2").await.unwrap();
    let found = storage_volumes::get(&mut tx, volume_key(VolumeType::Custom, "v2"))
        .await
        .unwrap();
    assert_eq!(
        found.config,
        config([("size", "2GiB"), ("volatile.idmap.last", "[]")])
    );
    assert_eq!((found.node.as_str(), found.description.as_str()), ("none", "big"));
    let pools = storage_volumes::pools_of(&mut tx, "default", VolumeType::Custom, "v2")
        .await
        .unwrap();
    assert_eq!(pools, ["p1"]);
    storage_volumes::delete(&mut tx, volume).await.unwrap();
    let missing = storage_volumes::get(&mut tx, volume_key(VolumeType::Custom, "v2"))
        .await
        .unwrap_err();
    assert_eq!(missing.to_string(), "Storage pool volume not found");
}

#[tokio::test]
async fn snapshots_of_volumes_share_the_volumes_ids() {
    let (_directory, cluster) = cluster().await;
    let mut tx = cluster.begin().await.unwrap();
    let (_, volume) = pool_and_volume(&mut tx).await;
    let keys = config([("size", "1GiB")]);
    let snapshot = snapshots::create(&mut tx, volume, "s1", "", time::ZERO, &keys)
        .await
        .unwrap();
    let taken = snapshots::create(&mut tx, volume, "s1", "", time::ZERO, &keys)
        .await
        .unwrap_err();
    assert_eq!(taken.to_string(), "Snapshot \"s1\" already in use");
    let root = volume_key(VolumeType::Container, "c1");
    let later = storage_volumes::create(&mut tx, root, Some(1), &content())
        .await
        .unwrap();
    assert!(
        snapshot > volume && later > snapshot,
        "{volume} {snapshot} {later}"
    );
    let found = snapshots::list(&mut tx, &[volume]).await.unwrap();
    assert_eq!((found.len(), found[0].id, &found[0].config), (1, snapshot, &keys));
    snapshots::update(&mut tx, snapshot, "d", Timestamp::UNIX_EPOCH)
        .await
        .unwrap();
    snapshots::rename(&mut tx, snapshot, "s2").await.unwrap();
    assert_eq!(
        snapshots::get(&mut tx, volume, "s2").await.unwrap().description,
        "d"
    );
    snapshots::delete(&mut tx, snapshot).await.unwrap();
    assert!(snapshots::get(&mut tx, volume, "s2").await.is_err());
}

#[tokio::test]
async fn backups_of_volumes_follow_their_names() {
    let (_directory, cluster) = cluster().await;
    let mut tx = cluster.begin().await.unwrap();
    let (_, volume) = pool_and_volume(&mut tx).await;
    let backup = backups::Backup {
        id: 0,
        volume_id: volume,
        name: "b0".to_owned(),
        created_at: Timestamp::UNIX_EPOCH,
        expires_at: time::ZERO,
        volume_only: true,
        optimized_storage: false,
    };
    let id = backups::create(&mut tx, &backup).await.unwrap();
    storage_volumes::rename(&mut tx, volume, "v2").await.unwrap();
    backups::rename(&mut tx, volume, "b0", "b1").await.unwrap();
    assert_eq!(
        backups::list(&mut tx, &[volume]).await.unwrap(),
        [backups::Backup {
            id,
            name: "b1".into(),
            ..backup
        }]
    );
    backups::delete(&mut tx, id).await.unwrap();
    let missing = backups::get(&mut tx, volume, "b1").await.unwrap_err();
    assert_eq!(missing.to_string(), "Storage volume backup not found");
}

#[tokio::test]
async fn what_uses_a_pool_a_volume_and_a_project_is_found() {
    let (_directory, cluster) = cluster().await;
    let mut tx = cluster.begin().await.unwrap();
    let (_, volume) = pool_and_volume(&mut tx).await;
    snapshots::create(&mut tx, volume, "s1", "", time::ZERO, &config([]))
        .await
        .unwrap();
    let root = volume_key(VolumeType::Container, "c1");
    storage_volumes::create(&mut tx, root, Some(1), &content())
        .await
        .unwrap();
    let mut instance = new_instance("default", "c1");
    instance.content.devices = devices([(
        "data",
        config([("type", "disk"), ("pool", "p1"), ("source", "v1")]),
    )]);
    instances::create(&mut tx, &instance).await.unwrap();
    let (project, pool) = ("default".to_owned(), "p1".to_owned());
    let c1 = User::Instance {
        project: project.clone(),
        name: "c1".into(),
    };
    let v1 = User::StorageVolume {
        project: project.clone(),
        pool: pool.clone(),
        name: "v1".into(),
    };
    let s1 = User::StorageVolumeSnapshot {
        project: project.clone(),
        pool,
        volume: "v1".into(),
        name: "s1".into(),
    };
    let profile = User::Profile {
        project,
        name: "default".into(),
    };
    assert_eq!(
        used_by::storage_volume(&mut tx, "default", "p1", "v1")
            .await
            .unwrap(),
        std::slice::from_ref(&c1)
    );
    assert_eq!(
        used_by::storage_pool(&mut tx, "p1").await.unwrap(),
        [c1.clone(), v1.clone(), s1]
    );
    assert_eq!(
        used_by::project(&mut tx, "default").await.unwrap(),
        [c1, profile, v1]
    );
}

#[tokio::test]
async fn certificates_are_found_by_the_beginning_of_their_fingerprint() {
    let (_directory, cluster) = cluster().await;
    let mut tx = cluster.begin().await.unwrap();
    let mut certificate = certificates::Certificate {
        id: 0,
        fingerprint: "aabb".to_owned(),
        kind: CertificateType::Client,
        name: "me".to_owned(),
        certificate: "-----BEGIN CERTIFICATE-----\n".to_owned(),
        restricted: true,
        projects: vec!["default".to_owned()],
    };
    certificate.id = certificates::create(&mut tx, &certificate).await.unwrap();
    assert_eq!(certificates::get(&mut tx, "aa").await.unwrap(), certificate);
    let taken = certificates::create(&mut tx, &certificate).await.unwrap_err();
    assert_eq!(taken.to_string(), "Certificate already in trust store");
    let wrong = certificates::Certificate {
        projects: vec!["q".to_owned()],
        ..certificate.clone()
    };
    assert_eq!(
        certificates::update(&mut tx, certificate.id, &wrong)
            .await
            .unwrap_err()
            .to_string(),
        "Project not found"
    );
    let open = certificates::Certificate {
        restricted: false,
        projects: Vec::new(),
        ..certificate.clone()
    };
    certificates::update(&mut tx, certificate.id, &open)
        .await
        .unwrap();
    assert_eq!(certificates::list(&mut tx).await.unwrap(), [open]);
    certificates::delete(&mut tx, certificate.id).await.unwrap();
    assert_eq!(
        certificates::get(&mut tx, "aabb").await.unwrap_err().to_string(),
        "Certificate not found"
    );
}

#[tokio::test]
async fn operations_and_warnings_come_and_go() {
    let (_directory, cluster) = cluster().await;
    let mut tx = cluster.begin().await.unwrap();
    operations::create(&mut tx, "u1", 1, 8, Some("default"))
        .await
        .unwrap();
    operations::create(&mut tx, "u2", 1, 9, None).await.unwrap();
    let found = operations::get(&mut tx, "u1").await.unwrap();
    assert_eq!(
        (
            found.node.as_str(),
            found.address.as_str(),
            found.project.as_deref()
        ),
        ("none", "0.0.0.0", Some("default"))
    );
    operations::delete(&mut tx, &["u1".to_owned(), "nope".to_owned()])
        .await
        .unwrap();
    assert_eq!(operations::list(&mut tx, None).await.unwrap().len(), 1);
    operations::delete_of_node(&mut tx, 1).await.unwrap();
    assert_eq!(
        operations::get(&mut tx, "u2").await.unwrap_err().to_string(),
        "Operation not found"
    );

    let key = warnings::Key {
        node_id: Some(1),
        project: None,
        entity: None,
        type_code: 14,
    };
    warnings::upsert(&mut tx, key, "w1", "no AppArmor").await.unwrap();
    warnings::set_status(&mut tx, "w1", warnings::Status::Resolved)
        .await
        .unwrap();
    warnings::upsert(&mut tx, key, "w2", "still none").await.unwrap();
    let found = warnings::list(&mut tx, None).await.unwrap();
    assert_eq!(
        (found.len(), found[0].uuid.as_str(), found[0].count),
        (1, "w1", 2)
    );
    assert_eq!(
        (found[0].status, found[0].last_message.as_str()),
        (warnings::Status::New, "still none")
    );
    assert_eq!((found[0].node.as_str(), found[0].project.as_str()), ("none", ""));
    let later = Timestamp::from_second(Timestamp::now().as_second() + 60).unwrap();
    let earlier = Timestamp::from_second(Timestamp::now().as_second() - 60).unwrap();
    for (node, before, is_resolved) in [(1, earlier, false), (2, later, false), (1, later, true)] {
        warnings::resolve_older(&mut tx, node, before).await.unwrap();
        let status = warnings::get(&mut tx, "w1").await.unwrap().status;
        assert_eq!(status == warnings::Status::Resolved, is_resolved);
    }
    let about = warnings::Key {
        project: Some("default"),
        entity: Some((0, 7)),
        ..key
    };
    warnings::upsert(&mut tx, about, "w3", "of one thing")
        .await
        .unwrap();
    assert_eq!(
        warnings::list(&mut tx, Some("default")).await.unwrap()[0].entity,
        Some((0, 7))
    );
    warnings::delete_resolved(&mut tx, later).await.unwrap();
    warnings::delete(&mut tx, "w3").await.unwrap();
    assert!(warnings::list(&mut tx, None).await.unwrap().is_empty());
    assert_eq!(
        warnings::delete(&mut tx, "w3").await.unwrap_err().to_string(),
        "Warning not found"
    );
}

#[tokio::test]
async fn the_cluster_has_its_configuration_and_its_members() {
    let (_directory, cluster) = cluster().await;
    let mut tx = cluster.begin().await.unwrap();
    cluster_config::replace(&mut tx, &config([("user.a", "1"), ("user.b", "")]))
        .await
        .unwrap();
    assert_eq!(
        cluster_config::get(&mut tx).await.unwrap(),
        config([("user.a", "1")])
    );
    cluster_config::replace(&mut tx, &config([])).await.unwrap();
    assert!(cluster_config::get(&mut tx).await.unwrap().is_empty());
    let found = nodes::list(&mut tx).await.unwrap();
    assert_eq!(
        (found.len(), found[0].api_extensions, found[0].schema),
        (1, 318, 60)
    );
    assert_eq!(nodes::get(&mut tx, 1).await.unwrap(), found[0]);
    assert!(matches!(
        nodes::id(&mut tx, "nope").await,
        Err(Error::NotFound { .. })
    ));
}
