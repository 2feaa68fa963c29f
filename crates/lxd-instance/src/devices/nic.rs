//! Network cards: pairs of virtual ones, cards on cards of the host, and cards of the host themselves.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use futures::future::BoxFuture;
use liblxc::nic::{Kind as CardKind, Nic, format_hwaddr, parse_hwaddr};
use lxd_sys::netlink::{self, LinkChange, Socket};
use lxd_sys::process;

use super::{Device, DeviceConfig, Host, Kind, value};
use crate::drivers::Guest;
use crate::drivers::container::blocking;
use crate::error::Error;
use crate::instance::Instance;
use crate::ports::{NicDevice, NicHost};

/// The kind.
pub struct Cards;

impl Kind for Cards {
    fn check(&self, device: &Device) -> Result<(), Error> {
        check(&device.config)
    }

    fn prepare<'a>(
        &'a self,
        host: &'a Host,
        device: &'a Device,
    ) -> BoxFuture<'a, Result<super::Plan, Error>> {
        Box::pin(async move {
            let mut random = [0; 7];
            rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
                .map_err(|e| Error::DeviceValue(format!("No random name: {e}")))?;
            let chosen = Chosen::new(&device.config, device.volatile("hwaddr"), random)?;
            let hwaddr = chosen
                .hwaddr
                .map(|hwaddr| format_hwaddr(&hwaddr))
                .unwrap_or_default();
            let end = host
                .network
                .prepare_nic(asked(device, &chosen.host_name, &hwaddr))
                .await;
            let end = end.map_err(Error::Port)?;
            let (card, volatile) = plan(device, &name_of(device), chosen, end)?;
            Ok(super::Plan {
                cards: vec![card],
                volatile,
                ..super::Plan::new(&device.name)
            })
        })
    }

    fn present<'a>(
        &'a self,
        _host: &'a Host,
        device: &'a Device,
    ) -> BoxFuture<'a, Result<super::Plan, Error>> {
        Box::pin(async move {
            let host_name = device.volatile("host_name").or_else(|| device.value("host_name"));
            let card = Nic {
                kind: kind_of(&device.config),
                name: name_of(device),
                host_name: host_name.unwrap_or_default().to_owned(),
                ..Nic::default()
            };
            Ok(super::Plan {
                cards: vec![card],
                ..super::Plan::new(&device.name)
            })
        })
    }

    fn started<'a>(
        &'a self,
        host: &'a Host,
        device: &'a Device,
        plan: &'a super::Plan,
        guest: &'a Arc<dyn Guest>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            for card in &plan.cards {
                if card.kind == CardKind::Moved {
                    keep(host, device, guest)?;
                }
                let hwaddr = card.hwaddr.as_deref().map(format_hwaddr).unwrap_or_default();
                let nic = asked(device, &card.host_name, &hwaddr);
                host.network.nic_started(nic).await.map_err(Error::Port)?;
            }
            Ok(())
        })
    }

    fn stopped<'a>(&'a self, host: &'a Host, device: &'a Device) -> BoxFuture<'a, Vec<Error>> {
        Box::pin(async move {
            let host_name = device.volatile("host_name").unwrap_or_default().to_owned();
            let mut errors: Vec<Error> = take_kept(host, device, &host_name)
                .await
                .err()
                .into_iter()
                .collect();
            let hwaddr = device.value("hwaddr").or_else(|| device.volatile("hwaddr"));
            let nic = asked(device, &host_name, hwaddr.unwrap_or_default());
            errors.extend(host.network.nic_stopped(nic).await.err().map(Error::Port));
            errors
        })
    }

    fn update<'a>(
        &'a self,
        host: &'a Host,
        old: &'a Device,
        new: &'a Device,
        _guest: &'a Arc<dyn Guest>,
    ) -> BoxFuture<'a, Result<Vec<(String, String)>, Error>> {
        Box::pin(async move {
            let host_name = old.volatile("host_name").unwrap_or_default();
            let hwaddr = old.value("hwaddr").or_else(|| old.volatile("hwaddr"));
            let hwaddr = hwaddr.unwrap_or_default();
            let pair = (asked(old, host_name, hwaddr), asked(new, host_name, hwaddr));
            host.network
                .nic_changed(pair.0, pair.1)
                .await
                .map_err(Error::Port)?;
            Ok(Vec::new())
        })
    }
}

fn asked<'a>(device: &'a Device, host_name: &'a str, hwaddr: &'a str) -> NicDevice<'a> {
    NicDevice {
        instance: &device.instance,
        device: &device.name,
        host_name,
        hwaddr,
    }
}

fn kept_as(device: &Device) -> String {
    format!("{} {}", device.instance.key, device.name)
}

/// Remembers where a card of the host is now.
pub(super) fn keep(host: &Host, device: &Device, guest: &Arc<dyn Guest>) -> Result<(), Error> {
    let namespace = process::namespace(guest.pid(), "net");
    let namespace = namespace
        .map_err(netlink::Error::Namespace)
        .map_err(Error::Card)?;
    host.kept.lock().insert(kept_as(device), namespace.into());
    Ok(())
}

/// Takes a card of the host back from where it was kept, unless somebody has: a container that was stopped from inside, or
/// whose card was plugged in, has not given it back.
pub(super) async fn take_kept(host: &Host, device: &Device, host_name: &str) -> Result<(), Error> {
    let kept = host.kept.lock().remove(&kept_as(device));
    let Some(namespace) = kept.filter(|_| !host_name.is_empty()) else {
        return Ok(());
    };
    let (inside, outside) = (name_of(device), host_name.to_owned());
    blocking(move || take_back(namespace.as_fd(), &inside, &outside).map_err(Error::Card)).await
}

/// The card's name inside.
pub(super) fn name_of(device: &Device) -> String {
    let all = names(&device.instance).into_iter();
    let mut own = all.filter(|(name, _)| *name == device.name);
    own.next().map(|(_, inside)| inside).unwrap_or_default()
}

/// Moves a card of the host back from a container. One that is gone is fine. Blocking, 20 ms.
pub(crate) fn take_back(
    namespace: BorrowedFd<'_>,
    name: &str,
    host_name: &str,
) -> Result<(), netlink::Error> {
    let home = netlink::current_namespace().map_err(netlink::Error::Namespace)?;
    let mut inside = Socket::open_in(namespace)?;
    if inside.link(name)?.is_none() {
        return Ok(());
    }
    let down = LinkChange {
        up: Some(false),
        ..LinkChange::default()
    };
    inside.change_link(name, &down)?;
    let back = LinkChange {
        name: Some(host_name),
        netns: Some(home.as_fd()),
        ..LinkChange::default()
    };
    inside.change_link(name, &back)
}

/// What a card is made of.
fn kind_of(config: &DeviceConfig) -> CardKind {
    match value(config, "nictype") {
        Some("macvlan") => CardKind::Macvlan,
        Some("ipvlan") if value(config, "mode") == Some("l2") => CardKind::IpvlanL2,
        Some("ipvlan") => CardKind::IpvlanL3s,
        Some("physical" | "sriov") => CardKind::Moved,
        _ => CardKind::Veth,
    }
}

/// Refuses a card that can't be started.
///
/// # Errors
/// [`Error::DeviceValue`].
pub fn check(config: &DeviceConfig) -> Result<(), Error> {
    let bad = |text: String| Err(Error::DeviceValue(text));
    match (value(config, "network"), value(config, "nictype")) {
        (None, Some("ovn")) => return bad("Unsupported nictype \"ovn\"".into()),
        (None, None) => return bad("Missing nictype or network".into()),
        _ => {}
    }
    if let Some(name) = value(config, "name")
        && !(1..16).contains(&name.len())
    {
        return bad(format!(
            "Invalid value for name: {name:?} is longer than 15 characters"
        ));
    }
    if let Some(hwaddr) = value(config, "hwaddr")
        && parse_hwaddr(hwaddr).is_none()
    {
        return bad(format!(
            "Invalid value for hwaddr: {hwaddr:?} is not a MAC address"
        ));
    }
    for key in ["mtu", "queue.tx.length"] {
        number(config, key)?;
    }
    Ok(())
}

/// A card's names and address as far as they don't depend on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    host_name: String,
    hwaddr: Option<[u8; 6]>,
}

impl Chosen {
    /// `random` gives the host end its name, and the card its address where it has none; `known` is the address that it
    /// had before.
    ///
    /// # Errors
    /// [`Error::DeviceValue`].
    pub fn new(config: &DeviceConfig, known: Option<&str>, random: [u8; 7]) -> Result<Self, Error> {
        let [a, b, c, d, x, y, z] = random;
        // A new name each time: the old card may still be on its way out.
        let made = |prefix: &str| format!("{prefix}{a:02x}{b:02x}{c:02x}{d:02x}");
        let kind = kind_of(config);
        let host_name = match (kind, value(config, "host_name")) {
            (CardKind::Veth, Some(host_name)) => host_name.to_owned(),
            (CardKind::Veth, None) => made("veth"),
            (CardKind::Macvlan, _) => made("mac"),
            (CardKind::IpvlanL2 | CardKind::IpvlanL3s, _) => made("ipvl"),
            (CardKind::Moved, _) => String::new(),
        };
        let known = known.filter(|_| kind != CardKind::Moved);
        let hwaddr = match value(config, "hwaddr").or(known) {
            Some(text) => Some(parse_hwaddr(text).ok_or_else(|| {
                Error::DeviceValue(format!("Invalid value for hwaddr: {text:?} is not a MAC address"))
            })?),
            None if matches!(kind, CardKind::Veth | CardKind::Macvlan) => Some([0x00, 0x16, 0x3e, x, y, z]),
            None => None,
        };
        Ok(Self { host_name, hwaddr })
    }
}

/// Where the names inside stand: the device's own `name`, else `volatile.DEVICE.name`, else the first that is free.
pub fn names(instance: &Instance) -> Vec<(String, String)> {
    let known = |device: &str| instance.volatile(device, "name").map(str::to_owned);
    lxd_model::devices::nic::names(&instance.devices, known)
}

/// Decides the rest about one card, and which `volatile.*` keys this start sets.
///
/// # Errors
/// [`Error::DeviceValue`].
pub fn plan(
    device: &Device,
    name: &str,
    chosen: Chosen,
    host: NicHost,
) -> Result<(Nic, Vec<(String, String)>), Error> {
    let config = &device.config;
    let kind = kind_of(config);
    let mut volatile = Vec::new();
    let mut remember = |key: &str, value: &str| {
        if device.volatile(key) != Some(value) {
            volatile.push((format!("volatile.{}.{key}", device.name), value.to_owned()));
        }
    };
    let host_name = match (kind, &host.parent) {
        (CardKind::Moved, Some(parent)) => parent.clone(),
        _ => chosen.host_name,
    };
    remember("host_name", &host_name);
    if let Some(hwaddr) = chosen.hwaddr.filter(|_| value(config, "hwaddr").is_none()) {
        remember("hwaddr", &format_hwaddr(&hwaddr));
    }
    if value(config, "name").is_none() {
        remember("name", name);
    }
    if kind != CardKind::Veth {
        remember("last_state.created", if host.created { "true" } else { "false" });
    }
    if let Some((hwaddr, mtu)) = host.original.filter(|_| kind == CardKind::Moved) {
        remember("last_state.hwaddr", &hwaddr);
        remember("last_state.mtu", &mtu.to_string());
    }
    let inherited = host.mtu.filter(|_| kind != CardKind::Moved);
    let card = Nic {
        kind,
        name: name.to_owned(),
        host_name,
        hwaddr: chosen.hwaddr.map(Vec::from),
        mtu: number(config, "mtu")?.or(inherited),
        queue_length: number(config, "queue.tx.length")?,
        master: host.master,
        parent: host
            .parent
            .filter(|_| !matches!(kind, CardKind::Veth | CardKind::Moved)),
        addresses: host.addresses,
        gateways: host.gateways,
        defaults: host.defaults,
    };
    Ok((card, volatile))
}

pub(super) fn number(config: &DeviceConfig, key: &str) -> Result<Option<u32>, Error> {
    let Some(text) = value(config, key) else {
        return Ok(None);
    };
    let number = text
        .parse()
        .map_err(|_| Error::DeviceValue(format!("Invalid value for {key}: {text:?}")))?;
    Ok(Some(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::tests::plain;

    fn device(config: &[(&str, &str)]) -> DeviceConfig {
        config
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn with(config: &[(&str, &str)], volatile: &[(&str, &str)]) -> Device {
        let mut instance = plain("/x".as_ref(), "c1");
        instance.devices.insert("a".into(), device(config));
        for (key, value) in volatile {
            instance
                .config
                .insert(format!("volatile.a.{key}"), (*value).to_owned());
        }
        Device {
            instance: Arc::new(instance),
            name: "a".into(),
            config: device(config),
        }
    }

    fn planned(device: &Device, host: NicHost, random: [u8; 7]) -> (String, Vec<(String, String)>) {
        let chosen = Chosen::new(&device.config, device.volatile("hwaddr"), random).unwrap();
        let (card, volatile) = plan(device, &name_of(device), chosen, host).unwrap();
        let volatile = volatile
            .into_iter()
            .map(|(k, v)| (k.replace("volatile.a.", ""), v));
        (card.to_argument(), volatile.collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn names_addresses_and_what_is_remembered() {
        let mut instance = plain("/x".as_ref(), "c1");
        let p2p = [("type", "nic"), ("nictype", "p2p")];
        instance.devices.insert("a".into(), device(&p2p));
        instance.devices.insert(
            "b".into(),
            device(&[("type", "nic"), ("nictype", "p2p"), ("name", "eth0")]),
        );
        assert_eq!(
            names(&instance),
            [("a".into(), "eth1".into()), ("b".into(), "eth0".into())]
        );
        let host = NicHost {
            master: Some("br0".into()),
            mtu: Some(1400),
            ..NicHost::default()
        };
        let first = planned(&with(&p2p, &[]), host, [1, 2, 3, 4, 5, 6, 7]);
        let made = "name=eth0,host=veth01020304,hwaddr=00:16:3e:05:06:07,mtu=1400,master=br0";
        let kept = pairs(&[
            ("host_name", "veth01020304"),
            ("hwaddr", "00:16:3e:05:06:07"),
            ("name", "eth0"),
        ]);
        assert_eq!(first, (made.to_owned(), kept));
        let known = with(&p2p, &[("hwaddr", "00:16:3e:05:06:07"), ("name", "eth0")]);
        let again = planned(&known, NicHost::default(), [9; 7]);
        assert_eq!(again.0, "name=eth0,host=veth09090909,hwaddr=00:16:3e:05:06:07");
        assert_eq!(again.1, pairs(&[("host_name", "veth09090909")]));
    }

    #[test]
    fn what_is_given_wins() {
        let given = [
            ("type", "nic"),
            ("nictype", "p2p"),
            ("name", "n"),
            ("host_name", "h"),
            ("mtu", "9000"),
            ("hwaddr", "02:00:00:00:00:01"),
        ];
        let host = NicHost {
            mtu: Some(1400),
            ..NicHost::default()
        };
        let (made, _) = planned(&with(&given, &[]), host, [1; 7]);
        assert_eq!(made, "name=n,host=h,hwaddr=02:00:00:00:00:01,mtu=9000");
    }

    #[test]
    fn cards_on_and_of_the_host() {
        let below = || NicHost {
            parent: Some("up0".into()),
            mtu: Some(1400),
            original: Some(("02:00:00:00:00:09".into(), 1400)),
            ..NicHost::default()
        };
        let macvlan = with(
            &[
                ("type", "nic"),
                ("nictype", "macvlan"),
                ("parent", "up0"),
                ("name", "m"),
            ],
            &[],
        );
        let (made, kept) = planned(&macvlan, below(), [1; 7]);
        assert_eq!(
            made,
            "name=m,host=mac01010101,kind=macvlan,hwaddr=00:16:3e:01:01:01,mtu=1400,parent=up0"
        );
        assert_eq!(
            kept,
            pairs(&[
                ("host_name", "mac01010101"),
                ("hwaddr", "00:16:3e:01:01:01"),
                ("last_state.created", "false")
            ])
        );
        let physical = with(
            &[
                ("type", "nic"),
                ("nictype", "physical"),
                ("parent", "up0"),
                ("mtu", "1300"),
            ],
            &[],
        );
        let (made, kept) = planned(&physical, below(), [1; 7]);
        assert_eq!(made, "name=eth0,host=up0,kind=moved,mtu=1300");
        assert_eq!(
            kept,
            pairs(&[
                ("host_name", "up0"),
                ("name", "eth0"),
                ("last_state.created", "false"),
                ("last_state.hwaddr", "02:00:00:00:00:09"),
                ("last_state.mtu", "1400")
            ])
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            device(&[("nictype", "p2p"), ("mtu", "x")]),
            device(&[("nictype", "p2p"), ("hwaddr", "zz")]),
            device(&[("nictype", "p2p"), ("name", "0123456789abcdef")]),
            device(&[("nictype", "ovn")]),
            device(&[]),
        ] {
            assert!(check(&bad).is_err(), "{bad:?}");
        }
    }
}
