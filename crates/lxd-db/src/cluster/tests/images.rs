//! Images and their aliases.

use jiff::Timestamp;

use super::super::images::{self, Content, NewImage, Source, aliases};
use super::super::{ImageProtocol, InstanceType, projects};
use super::{cluster, config};
use crate::{Error, time};

fn new_image(fingerprint: &str) -> NewImage {
    NewImage {
        fingerprint: fingerprint.to_owned(),
        filename: "image.tar.xz".to_owned(),
        size: 1234,
        kind: InstanceType::Container,
        architecture: "x86_64".to_owned(),
        created_at: Timestamp::UNIX_EPOCH,
        expires_at: Timestamp::UNIX_EPOCH,
        public: false,
        cached: true,
        auto_update: false,
        properties: config([("os", "Debian"), ("empty", "")]),
        profiles: vec!["default".to_owned()],
        source: Some(Source {
            server: "https://images.example".to_owned(),
            protocol: ImageProtocol::Simplestreams,
            certificate: String::new(),
            alias: "debian/12".to_owned(),
        }),
    }
}

#[tokio::test]
async fn an_image_is_read_as_it_was_made() {
    let (_directory, cluster) = cluster().await;
    let mut tx = cluster.begin().await.unwrap();
    let id = images::create(&mut tx, "default", 1, &new_image("ab12"))
        .await
        .unwrap();
    let found = images::get(&mut tx, "default", "ab12").await.unwrap();
    assert_eq!((found.id, &found.content), (id, &new_image("ab12")));
    assert_eq!(
        (found.nodes.as_slice(), found.last_used_at),
        (["none".to_owned()].as_slice(), time::ZERO)
    );
    let taken = images::create(&mut tx, "default", 1, &new_image("ab12"))
        .await
        .unwrap_err();
    assert_eq!(taken.to_string(), "Image with same fingerprint already exists");
    let content = Content {
        public: true,
        auto_update: true,
        expires_at: time::ZERO,
        properties: config([("os", "Alpine")]),
        profiles: Vec::new(),
    };
    images::update(&mut tx, id, &content).await.unwrap();
    images::set_not_cached(&mut tx, id).await.unwrap();
    let now = Timestamp::now();
    images::set_last_used(&mut tx, "ab12", now).await.unwrap();
    let found = images::get(&mut tx, "default", "ab").await.unwrap();
    assert!(found.content.public && found.content.auto_update && !found.content.cached);
    assert_eq!(found.content.properties, config([("os", "Alpine")]));
    assert!(found.content.profiles.is_empty() && found.last_used_at == now);
    images::delete(&mut tx, id).await.unwrap();
    assert_eq!(
        images::get(&mut tx, "default", "ab12")
            .await
            .unwrap_err()
            .to_string(),
        "Image not found"
    );
}

#[tokio::test]
async fn the_beginning_of_a_fingerprint_is_enough_where_it_is_one() {
    let (_directory, cluster) = cluster().await;
    let mut tx = cluster.begin().await.unwrap();
    projects::create(&mut tx, "p", "", &config([("features.images", "true")]))
        .await
        .unwrap();
    for fingerprint in ["ab12", "ab1234", "cd00"] {
        images::create(&mut tx, "default", 1, &new_image(fingerprint))
            .await
            .unwrap();
    }
    images::create(&mut tx, "p", 1, &new_image("cd00")).await.unwrap();
    for (given, expected) in [
        ("c", Some("cd00")),
        ("ab12", Some("ab12")),
        ("ab123", Some("ab1234")),
        ("zz", None),
    ] {
        let found = images::get(&mut tx, "default", given).await.ok();
        assert_eq!(
            found.map(|image| image.content.fingerprint).as_deref(),
            expected,
            "{given}"
        );
    }
    for ambiguous in ["ab", "a"] {
        let error = images::get(&mut tx, "default", ambiguous).await.unwrap_err();
        assert!(matches!(error, Error::Ambiguous { .. }), "{ambiguous}: {error}");
    }
    for nothing in ["", "%", "_", "a%"] {
        assert!(
            images::get(&mut tx, "default", nothing).await.is_err(),
            "{nothing}"
        );
    }
    assert_eq!(
        images::projects_of(&mut tx, "cd00").await.unwrap(),
        ["default", "p"]
    );
    assert_eq!(
        images::fingerprints(&mut tx, "default", false).await.unwrap(),
        ["ab12", "ab1234", "cd00"]
    );
    assert!(
        images::fingerprints(&mut tx, "default", true)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(images::list(&mut tx, None).await.unwrap().len(), 4);
    assert_eq!(images::list(&mut tx, Some("p")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn aliases_stand_for_images() {
    let (_directory, cluster) = cluster().await;
    let mut tx = cluster.begin().await.unwrap();
    let one = images::create(&mut tx, "default", 1, &new_image("aa"))
        .await
        .unwrap();
    let two = images::create(&mut tx, "default", 1, &new_image("bb"))
        .await
        .unwrap();
    let new = [("debian", "the best"), ("alpine", "")];
    aliases::create_all(&mut tx, "default", one, &new).await.unwrap();
    let taken = aliases::create_all(&mut tx, "default", two, &new[..1]).await;
    assert_eq!(taken.unwrap_err().to_string(), "Alias \"debian\" already exists");
    let id = aliases::get(&mut tx, "default", "debian").await.unwrap().id;
    let image = images::get(&mut tx, "default", "aa").await.unwrap();
    assert_eq!(
        image
            .aliases
            .iter()
            .map(|alias| alias.name.as_str())
            .collect::<Vec<_>>(),
        ["debian", "alpine"]
    );
    aliases::move_all(&mut tx, one, two).await.unwrap();
    aliases::update(&mut tx, id, one, "changed").await.unwrap();
    aliases::rename(&mut tx, id, "deb").await.unwrap();
    let found = aliases::get(&mut tx, "default", "deb").await.unwrap();
    assert_eq!(
        (found.target.as_str(), found.description.as_str()),
        ("aa", "changed")
    );
    assert_eq!(aliases::list(&mut tx, "default").await.unwrap().len(), 2);
    aliases::delete(&mut tx, "default", "alpine").await.unwrap();
    assert_eq!(
        aliases::delete(&mut tx, "default", "alpine")
            .await
            .unwrap_err()
            .to_string(),
        "Image alias not found"
    );
}
