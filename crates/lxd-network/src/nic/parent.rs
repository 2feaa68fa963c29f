//! The links of the host that cards are made on or made of.

use std::path::PathBuf;

use lxd_model::Invalid;
use lxd_sys::netlink::{self, Kind, Link, LinkChange, Mac, NewLink};

use super::card::{Card, HostSide};
use crate::{Error, Result};

/// The link that a card with `parent` and perhaps `vlan` is made on.
pub(crate) fn name(card: &Card) -> String {
    match card.get("vlan") {
        "" => card.parent().to_owned(),
        vlan => format!("{}.{vlan}", card.parent()),
    }
}

/// Finds the link below a card, and makes it where it is a VLAN that nobody has made yet.
///
/// # Errors
/// There is no parent; the kernel can't make the VLAN.
pub(crate) async fn find(card: &Card) -> Result<HostSide> {
    let (parent, wanted) = (card.parent().to_owned(), name(card));
    let quoted = match card.nictype.as_str() {
        "macvlan" | "physical" => format!("'{parent}'"),
        _ => format!("{parent:?}"),
    };
    let names = (parent.clone(), wanted.clone());
    let found = netlink::run(move |socket| Ok((socket.link(&names.0)?, socket.link(&names.1)?))).await;
    let (below, link) = found.map_err(Error::Interfaces)?;
    // A physical card that is plugged in already is away.
    let Some(below) = below else {
        return Err(Invalid::new(format!("Parent device {quoted} doesn't exist")).into());
    };
    let (link, created) = match link {
        Some(link) => (link, false),
        None => (make_vlan(card, &parent, &wanted).await?, true),
    };
    let mtu = card.get("mtu").is_empty().then_some(below.mtu);
    Ok(HostSide {
        parent: Some(wanted),
        created,
        mtu,
        original: Some((link.mac(), link.mtu)),
        ..HostSide::default()
    })
}

async fn make_vlan(card: &Card, parent: &str, name: &str) -> Result<Link> {
    let failed = |reason: String| {
        let text = format!("Failed to create VLAN interface {name:?} on {parent:?}: {reason}");
        Error::from(Invalid::new(text))
    };
    let id: u16 = card
        .get("vlan")
        .parse()
        .map_err(|_| failed("no VLAN id".into()))?;
    let (below, wanted) = (parent.to_owned(), name.to_owned());
    let gvrp = card.is_on("gvrp");
    let made = netlink::run(move |socket| {
        let parent = below.as_str();
        let kind = Kind::Vlan { parent, id, gvrp };
        let up = true;
        socket.add_link(&NewLink {
            up,
            ..NewLink::new(&wanted, kind)
        })?;
        socket.link(&wanted)
    });
    let link = made.await.map_err(|error| failed(reason(&error)))?;
    link.ok_or_else(|| failed("it is gone again".into()))
}

/// Removes a VLAN that was made for a card, unless somebody else uses it.
pub(crate) async fn remove_vlan(card: &Card) -> Result<()> {
    let name = name(card);
    let removed = netlink::run(move |socket| {
        let Some(link) = socket.link(&name)? else {
            return Ok(());
        };
        let is_used = socket.links()?.iter().any(|other| {
            other.index != link.index && other.lower == Some(link.index) && other.peer_netns.is_none()
        });
        if is_used {
            Ok(())
        } else {
            socket.delete_link(&name).map(drop)
        }
    });
    removed.await.map_err(Error::Interfaces)
}

/// Gives a link of the host back the address and the packet size that it had before it was a card.
pub(super) async fn restore(name: &str, hwaddr: &str, mtu: &str) -> Result<()> {
    let (name, mac, mtu) = (
        name.to_owned(),
        hwaddr.parse::<Mac>().ok(),
        mtu.parse::<u32>().ok(),
    );
    let restored = netlink::run(move |socket| {
        let Some(link) = socket.link(&name)? else {
            return Ok(());
        };
        let change = LinkChange {
            mac: mac.filter(|mac| link.mac() != mac.to_string()),
            mtu: mtu.filter(|mtu| link.mtu != *mtu),
            ..LinkChange::default()
        };
        if change.mac.is_none() && change.mtu.is_none() {
            return Ok(());
        }
        socket.change_link(&name, &change)
    });
    restored.await.map_err(Error::Interfaces)
}

/// A virtual function of a card of the host that nobody uses.
///
/// # Errors
/// The card has none, or none that is free.
pub(super) async fn free_function(parent: &str) -> Result<String> {
    let device = PathBuf::from("/sys/class/net").join(parent).join("device");
    if tokio::fs::metadata(device.join("sriov_numvfs")).await.is_err() {
        let text = format!("Parent device {parent:?} doesn't support SR-IOV");
        return Err(Invalid::new(text).into());
    }
    let links = netlink::run(netlink::Socket::links)
        .await
        .map_err(Error::Interfaces)?;
    let mut index = 0;
    loop {
        let function = device.join(format!("virtfn{index}")).join("net");
        let Ok(mut names) = tokio::fs::read_dir(&function).await else {
            if tokio::fs::symlink_metadata(device.join(format!("virtfn{index}")))
                .await
                .is_ok()
            {
                index += 1;
                continue;
            }
            let text = format!("All virtual functions on parent device {parent:?} seem to be in use");
            return Err(Invalid::new(text).into());
        };
        while let Ok(Some(entry)) = names.next_entry().await {
            let name = entry.file_name().to_string_lossy().into_owned();
            if links.iter().any(|link| link.name == name && !link.is_up()) {
                return Ok(name);
            }
        }
        index += 1;
    }
}

/// The kernel's own words.
fn reason(error: &netlink::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
