//! `infiniband`: cards of the host that go to an instance, with the nodes that programs inside talk to the hardware through.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use liblxc::nic::{Kind as CardKind, Nic};
use lxd_sys::netlink::{Link, LinkChange, Socket};

use super::nic::{keep, name_of, number, take_kept};
use super::unix::{Node, nodes_of, remove_nodes, shown};
use super::{Device, Host, Kind, Plan};
use crate::drivers::Guest;
use crate::drivers::container::blocking;
use crate::error::Error;

/// The kind.
pub struct Infiniband;

/// Where the kernel tells of network cards.
const CARDS: &str = "/sys/class/net";

/// What the kernel calls the type of InfiniBand cards (`ARPHRD_INFINIBAND`).
const HARDWARE: &str = "32";

/// Bytes of the address of such a card; the last eight are the port's own.
const LONG: usize = 20;
const SHORT: usize = 8;

impl Kind for Infiniband {
    fn check(&self, _device: &Device) -> Result<(), Error> {
        Ok(())
    }

    fn prepare<'a>(&'a self, _host: &'a Host, device: &'a Device) -> BoxFuture<'a, Result<Plan, Error>> {
        let owned = device.clone();
        Box::pin(async move { blocking(move || prepare(&owned)).await })
    }

    fn present<'a>(&'a self, _host: &'a Host, device: &'a Device) -> BoxFuture<'a, Result<Plan, Error>> {
        let owned = device.clone();
        Box::pin(async move {
            let nodes = blocking(move || nodes_of(&owned)).await?;
            let card = Nic {
                kind: CardKind::Moved,
                name: name_of(device),
                host_name: device.volatile("host_name").unwrap_or_default().to_owned(),
                ..Nic::default()
            };
            Ok(Plan {
                cards: vec![card],
                ..shown(device, &nodes)
            })
        })
    }

    fn started<'a>(
        &'a self,
        host: &'a Host,
        device: &'a Device,
        _plan: &'a Plan,
        guest: &'a Arc<dyn Guest>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { keep(host, device, guest) })
    }

    fn stopped<'a>(&'a self, host: &'a Host, device: &'a Device) -> BoxFuture<'a, Vec<Error>> {
        let owned = device.clone();
        Box::pin(async move {
            let host_name = device.volatile("host_name").unwrap_or_default();
            let taken = take_kept(host, device, host_name).await;
            let rest = blocking(move || {
                let restored = restore(&owned);
                remove_nodes(&owned).and(restored)
            });
            [taken, rest.await].into_iter().filter_map(Result::err).collect()
        })
    }
}

/// Chooses the card and makes its nodes in the instance's folder.
fn prepare(device: &Device) -> Result<Plan, Error> {
    let cards = Path::new(CARDS);
    let host_name = card(cards, device)?;
    let missing = || no_card(&host_name);
    let mut socket = Socket::open().map_err(Error::Card)?;
    let link = socket
        .link(&host_name)
        .map_err(Error::Card)?
        .ok_or_else(missing)?;
    let nodes = nodes(&cards.join(&host_name));
    remove_nodes(device)?;
    nodes.iter().try_for_each(|node| node.make(device))?;
    let card = Nic {
        kind: CardKind::Moved,
        name: name_of(device),
        host_name,
        hwaddr: device
            .value("hwaddr")
            .map(|own| address(own, &link))
            .transpose()?,
        mtu: number(&device.config, "mtu")?,
        ..Nic::default()
    };
    let mut volatile = vec![
        ("host_name", card.host_name.clone()),
        ("last_state.hwaddr", link.mac()),
        ("last_state.mtu", link.mtu.to_string()),
    ];
    if device.value("name").is_none() {
        volatile.push(("name", card.name.clone()));
    }
    let named = |(key, value)| (format!("volatile.{}.{key}", device.name), value);
    Ok(Plan {
        cards: vec![card],
        volatile: volatile.into_iter().map(named).collect(),
        ..shown(device, &nodes)
    })
}

/// The name of the card of the host that a device asks for: its parent, or a virtual function of that.
fn card(cards: &Path, device: &Device) -> Result<String, Error> {
    let parent = device.value("parent").unwrap_or_default();
    let is_name = !parent.is_empty() && !parent.contains('/');
    if !is_name || !cards.join(parent).exists() {
        return Err(Error::DeviceValue(format!(
            "Parent device '{parent}' doesn't exist"
        )));
    }
    if device.value("nictype") == Some("sriov") {
        return free_function(cards, parent).ok_or_else(|| {
            Error::DeviceValue("All virtual functions on parent device are already in use".into())
        });
    }
    match is_infiniband(&cards.join(parent)) {
        true => Ok(parent.to_owned()),
        false => Err(no_card(parent)),
    }
}

fn no_card(name: &str) -> Error {
    Error::DeviceValue(format!("Specified infiniband device {name:?} not found"))
}

fn is_infiniband(card: &Path) -> bool {
    text(&card.join("type")) == HARDWARE && card.join("device").exists()
}

/// A virtual function that no instance has: those that are given away are not seen from here.
fn free_function(cards: &Path, parent: &str) -> Option<String> {
    let whole = cards.join(parent).join("device").canonicalize().ok()?;
    let mut names: Vec<String> = entries(cards);
    names.retain(|name| {
        let card = cards.join(name);
        let of = card.join("device/physfn").canonicalize();
        of.is_ok_and(|of| of == whole) && is_infiniband(&card)
    });
    names.into_iter().next()
}

/// The nodes of the host for a card's port: of the subnet's manager, of management packets, and of data.
fn nodes(card: &Path) -> Vec<Node> {
    let port: u32 = text(&card.join("dev_port")).parse().unwrap_or_default();
    let kinds = [
        ("infiniband_mad", "issm"),
        ("infiniband_mad", "umad"),
        ("infiniband_verbs", "uverbs"),
    ];
    let node = |(class, prefix): (&str, &str)| {
        let folder = card.join("device").join(class);
        // A card of several ports has nodes of management for each, which count from one.
        let is_of_port = |name: &String| {
            let other = text(&folder.join(name).join("port"));
            name.starts_with(prefix) && (other.is_empty() || other == (port + 1).to_string())
        };
        let name = entries(&folder).into_iter().find(is_of_port)?;
        let numbers = text(&folder.join(&name).join("dev"));
        let (major, minor) = numbers.split_once(':')?;
        Some(Node {
            path: format!("/dev/infiniband/{name}"),
            is_block: false,
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    };
    kinds.into_iter().filter_map(node).collect()
}

/// The whole address of a card for one that was given: eight bytes are the end of it.
fn address(given: &str, link: &Link) -> Result<Vec<u8>, Error> {
    let bytes: Option<Vec<u8>> = given
        .split(':')
        .map(|pair| u8::from_str_radix(pair, 16).ok())
        .collect();
    let kept = link.address.get(..LONG - SHORT);
    match (bytes, kept) {
        (Some(bytes), _) if bytes.len() == LONG => Ok(bytes),
        (Some(bytes), Some(kept)) if bytes.len() == SHORT => Ok([kept, &bytes].concat()),
        _ => Err(Error::DeviceValue(format!(
            "Invalid value for hwaddr: {given:?} is not the address of an infiniband card"
        ))),
    }
}

/// Gives a card that is back the address and the packet size that it had.
fn restore(device: &Device) -> Result<(), Error> {
    let last = |key: &str| device.volatile(key).unwrap_or_default();
    let name = last("host_name");
    if name.is_empty() {
        return Ok(());
    }
    let mut socket = Socket::open().map_err(Error::Card)?;
    let Some(link) = socket.link(name).map_err(Error::Card)? else {
        return Ok(());
    };
    let before = last("last_state.hwaddr");
    let address = address(before, &link)
        .ok()
        .filter(|address| *address != link.address);
    let mtu = last("last_state.mtu").parse().ok().filter(|mtu| *mtu != link.mtu);
    if address.is_none() && mtu.is_none() {
        return Ok(());
    }
    let change = LinkChange {
        address: address.as_deref(),
        mtu,
        ..LinkChange::default()
    };
    socket.change_link(name, &change).map_err(Error::Card)
}

fn text(file: &PathBuf) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.trim_end().to_owned()
}

/// The names in a folder, in their order.
fn entries(folder: &Path) -> Vec<String> {
    let found = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = found
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use lxd_sys::netlink::{self, Kind as LinkKind, NewLink};

    use super::super::unix::tests::device;
    use super::*;

    /// A card `ib0` of two virtual functions, `ib1` and `ib2`, and an ordinary one, `eth0`.
    fn sysfs(root: &Path) -> PathBuf {
        let write = |path: PathBuf, text: &str| {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("{text}\n")).unwrap();
        };
        let cards = root.join("class/net");
        for (name, kind) in [("ib0", "32"), ("ib1", "32"), ("ib2", "32"), ("eth0", "1")] {
            let hardware = root.join("devices").join(name);
            write(cards.join(name).join("type"), kind);
            write(cards.join(name).join("dev_port"), "1");
            std::fs::create_dir_all(&hardware).unwrap();
            symlink(&hardware, cards.join(name).join("device")).unwrap();
        }
        for name in ["ib1", "ib2"] {
            symlink(
                root.join("devices/ib0"),
                root.join("devices").join(name).join("physfn"),
            )
            .unwrap();
        }
        let nodes = [
            ("infiniband_mad/issm0", "231:64", "1"),
            ("infiniband_mad/issm1", "231:65", "2"),
            ("infiniband_mad/umad0", "231:0", "1"),
            ("infiniband_mad/umad1", "231:1", "2"),
            ("infiniband_verbs/uverbs0", "231:192", ""),
        ];
        for (name, numbers, port) in nodes {
            let folder = root.join("devices/ib0").join(name);
            write(folder.join("dev"), numbers);
            if !port.is_empty() {
                write(folder.join("port"), port);
            }
        }
        cards
    }

    #[test]
    fn cards_are_chosen_as_they_are_asked_for() {
        let root = tempfile::tempdir().unwrap();
        let cards = sysfs(root.path());
        let chosen = |nictype: &str, parent: &str| {
            let wanted = device(root.path(), &[("nictype", nictype), ("parent", parent)]);
            card(&cards, &wanted).map_err(|error| error.to_string())
        };
        assert_eq!(chosen("physical", "ib0"), Ok("ib0".into()));
        assert_eq!(chosen("sriov", "ib0"), Ok("ib1".into()));
        let refused = [
            ("physical", "ib9", "Parent device 'ib9' doesn't exist"),
            ("physical", "../x", "Parent device '../x' doesn't exist"),
            (
                "physical",
                "eth0",
                "Specified infiniband device \"eth0\" not found",
            ),
            (
                "sriov",
                "eth0",
                "All virtual functions on parent device are already in use",
            ),
        ];
        for (nictype, parent, text) in refused {
            assert_eq!(chosen(nictype, parent), Err(text.into()));
        }
        // The first function has gone to an instance: its card is seen no more.
        std::fs::remove_dir_all(cards.join("ib1")).unwrap();
        assert_eq!(chosen("sriov", "ib0"), Ok("ib2".into()));
    }

    #[test]
    fn nodes_are_those_of_the_port() {
        let root = tempfile::tempdir().unwrap();
        let cards = sysfs(root.path());
        let found: Vec<_> = nodes(&cards.join("ib0"))
            .into_iter()
            .map(|node| (node.path, node.major, node.minor))
            .collect();
        let wanted = [("issm1", 65), ("umad1", 1), ("uverbs0", 192)];
        assert_eq!(
            found,
            wanted.map(|(name, minor)| (format!("/dev/infiniband/{name}"), 231, minor))
        );
        assert!(nodes(&cards.join("eth0")).is_empty());
    }

    #[test]
    fn a_short_address_is_the_end_of_the_cards() {
        let link = Link {
            address: (0..20).collect(),
            ..Link::default()
        };
        let whole = address("00:02:c9:03:00:00:0d:41", &link).unwrap();
        assert_eq!(whole[..12], link.address[..12]);
        assert_eq!(whole[12..], [0, 2, 0xc9, 3, 0, 0, 0x0d, 0x41]);
        assert_eq!(address(&link.mac(), &link).unwrap(), link.address);
        assert!(address("00:02", &link).is_err());
    }

    #[test]
    fn a_card_that_is_back_is_as_it_was() {
        netlink::in_new_namespace(|| {
            let mut socket = Socket::open().unwrap();
            socket.add_link(&NewLink::new("br0", LinkKind::Bridge)).unwrap();
            let mut own = device(Path::new("/x"), &[("type", "infiniband")]);
            restore(&own).unwrap();
            let instance = Arc::make_mut(&mut own.instance);
            let before = [("host_name", "br0"), ("last_state.mtu", "1300")];
            for (key, value) in before {
                instance.config.insert(format!("volatile.d.{key}"), value.into());
            }
            restore(&own).unwrap();
            restore(&own).unwrap();
            assert_eq!(socket.link("br0").unwrap().unwrap().mtu, 1300);
        })
        .unwrap();
    }
}
