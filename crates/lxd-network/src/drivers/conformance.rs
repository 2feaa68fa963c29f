//! What every driver has to do alike; each driver's tests run it.

use std::collections::BTreeMap;

use lxd_model::ErrorKind;

use crate::dnsmasq::{HostEntry, LeaseNic};
use crate::{Driver, Error, Fill, Network};

/// Leads a network through its whole life under two names. `change` is a valid change of its configuration.
pub(crate) async fn run(driver: &dyn Driver, name: &str, other: &str, change: BTreeMap<String, String>) {
    let capabilities = driver.capabilities();
    assert!(!capabilities.kind.is_empty() && !capabilities.nictype.is_empty());

    let config = BTreeMap::from([
        ("user.empty".to_owned(), String::new()),
        ("user.x".to_owned(), "y".to_owned()),
    ]);
    let bare = Network {
        id: 1,
        name: name.to_owned(),
        description: "d".into(),
        config,
    };
    let network = driver.fill(bare, Fill::Create).await.expect("fill");
    assert!(!network.config.contains_key("user.empty") && network.get("user.x") == "y");
    assert_eq!((network.name.as_str(), network.description.as_str()), (name, "d"));
    driver.validate(&network).expect("what fill gives is valid");
    let again = driver.fill(network.clone(), Fill::Update).await.expect("fill");
    assert_eq!(again, network, "filling what is full changes nothing");

    let mut unknown = network.clone();
    unknown.config.insert("no.such.key".into(), "x".into());
    let refused = driver.validate(&unknown).expect_err("an unknown key");
    assert!(
        matches!(refused, Error::UnknownKey { .. }) && refused.kind() == ErrorKind::BadRequest,
        "{refused}"
    );

    driver.create(&network).await.expect("create");
    driver.create(&network).await.expect_err("create what exists");
    driver.start(&network).await.expect("start what is up");
    nics(driver, &network).await;
    let changed = update(driver, &network, change).await;
    rename(driver, &changed, other).await;
    driver
        .delete(&network)
        .await
        .expect("delete under a name that is gone");
}

async fn nics(driver: &dyn Driver, network: &Network) {
    let hwaddr = "00:16:3e:01:02:03".to_owned();
    let address = network
        .config
        .values()
        .find_map(|v| v.parse::<crate::subnet::Subnet>().ok());
    let ipv4 = match address.expect("an address").nth(9) {
        std::net::IpAddr::V4(address) => Some(address),
        std::net::IpAddr::V6(_) => None,
    };
    let entry = HostEntry {
        instance: "c1".into(),
        device: "eth0".into(),
        hwaddr,
        ipv4,
        ..HostEntry::default()
    };
    for _ in 0..2 {
        driver
            .add_hosts(network, std::slice::from_ref(&entry))
            .await
            .expect("add hosts");
    }
    let nic = LeaseNic {
        instance: "c1".into(),
        hwaddr: entry.hwaddr.clone(),
        ipv4,
        ipv6: None,
    };
    let leases = driver.leases(network, &[nic], true).await.expect("leases");
    let fixed = leases
        .iter()
        .find(|lease| lease.r#type == "static")
        .expect("the fixed address");
    assert_eq!(
        (fixed.hostname.as_str(), &fixed.address),
        ("c1", &ipv4.expect("IPv4").to_string())
    );
    for _ in 0..2 {
        driver.remove_host(network, &entry).await.expect("remove a host");
    }
}

async fn update(driver: &dyn Driver, network: &Network, change: BTreeMap<String, String>) -> Network {
    let mut changed = network.clone();
    changed.config.extend(change);
    driver.validate(&changed).expect("the change is valid");
    driver.update(network, &changed).await.expect("update");
    driver
        .update(&changed, &changed)
        .await
        .expect("update without a change");
    changed
}

async fn rename(driver: &dyn Driver, network: &Network, other: &str) {
    driver.rename(network, other).await.expect("rename");
    let renamed = Network {
        name: other.to_owned(),
        ..network.clone()
    };
    driver
        .create(&renamed)
        .await
        .expect_err("create what another was renamed to");
    let bare = Network {
        name: network.name.clone(),
        ..Network::default()
    };
    let network = &driver.fill(bare, Fill::Create).await.expect("fill");
    driver.create(network).await.expect("the old name is free");
    driver
        .rename(network, other)
        .await
        .expect_err("rename to a name that is taken");
    driver.delete(network).await.expect("delete");
    for _ in 0..2 {
        driver.stop(&renamed).await.expect("stop");
    }
    driver.start(&renamed).await.expect("start");
    for _ in 0..2 {
        driver.delete(&renamed).await.expect("delete");
    }
}
