//! Network cards: pairs of virtual ones, on a bridge or point to point. Pure, but for random numbers handed in.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use liblxc::protocol::{Nic, parse_hwaddr};

use super::{Device, DeviceConfig, Host, Kind, of_type, value};
use crate::drivers::Guest;
use crate::error::Error;
use crate::instance::Instance;
use crate::ports::{NicDevice, NicHost, PortError};

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
            let hwaddr = device.volatile("hwaddr").unwrap_or_default();
            let end = host.network.prepare_nic(asked(device, "", hwaddr)).await;
            let end = end.map_err(Error::Port)?;
            let mut random = [0; 7];
            rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
                .map_err(|e| Error::DeviceValue(format!("No random name: {e}")))?;
            let name = name_of(device);
            let plan = plan(&device.instance, &device.name, &name, &end, random)?;
            Ok(super::Plan {
                cards: vec![plan.nic],
                volatile: plan.volatile,
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
            let host_name = device.value("host_name").or_else(|| device.volatile("host_name"));
            let card = Nic {
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
        _guest: &'a Arc<dyn Guest>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            for card in &plan.cards {
                let hwaddr = card.hwaddr.map(format_hwaddr).unwrap_or_default();
                let nic = asked(device, &card.host_name, &hwaddr);
                host.network.nic_started(nic).await.map_err(Error::Port)?;
            }
            Ok(())
        })
    }

    fn stopped<'a>(&'a self, host: &'a Host, device: &'a Device) -> BoxFuture<'a, Vec<Error>> {
        Box::pin(async move {
            let host_name = device.volatile("host_name").unwrap_or_default();
            let hwaddr = device.volatile("hwaddr").unwrap_or_default();
            let stopped: Result<(), PortError> =
                host.network.nic_stopped(asked(device, host_name, hwaddr)).await;
            stopped.err().map(Error::Port).into_iter().collect()
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

/// The card's name inside.
fn name_of(device: &Device) -> String {
    let all = names(&device.instance).into_iter();
    let mut own = all.filter(|(name, _)| *name == device.name);
    own.next().map(|(_, inside)| inside).unwrap_or_default()
}

/// A card that a start makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The device's name.
    pub device: String,
    /// What the helper is told to make.
    pub nic: Nic,
    /// `volatile.*` keys that this start sets.
    pub volatile: Vec<(String, String)>,
}

impl Plan {
    /// The MAC address inside, with colons.
    pub fn hwaddr(&self) -> String {
        self.nic.hwaddr.map(format_hwaddr).unwrap_or_default()
    }
}

/// Refuses a card that can't be started.
///
/// # Errors
/// [`Error::DeviceValue`].
pub fn check(config: &DeviceConfig) -> Result<(), Error> {
    let bad = |text: String| Err(Error::DeviceValue(text));
    match (value(config, "network"), value(config, "nictype")) {
        (Some(_), _) | (None, Some("bridged" | "p2p")) => {}
        (None, Some(other)) => return bad(format!("Unsupported nictype {other:?}")),
        (None, None) => return bad("Missing nictype or network".into()),
    }
    for key in ["name", "host_name"] {
        if let Some(name) = value(config, key)
            && !(1..16).contains(&name.len())
        {
            return bad(format!(
                "Invalid value for {key}: {name:?} is longer than 15 characters"
            ));
        }
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

/// Where the names inside stand: the device's own `name`, else `volatile.DEVICE.name`, else the first free `ethN`.
pub fn names(instance: &Instance) -> Vec<(String, String)> {
    let chosen = |device: &str, config: &DeviceConfig| {
        value(config, "name")
            .or_else(|| instance.volatile(device, "name"))
            .map(str::to_owned)
    };
    let mut taken: BTreeSet<String> = of_type(instance, "nic")
        .filter_map(|(device, config)| chosen(device, config))
        .collect();
    let named = of_type(instance, "nic").map(|(device, config)| {
        let name = chosen(device, config).unwrap_or_else(|| {
            let mut free = (0..)
                .map(|n| format!("eth{n}"))
                .filter(|name| !taken.contains(name));
            free.next().unwrap_or_default()
        });
        taken.insert(name.clone());
        (device.clone(), name)
    });
    named.collect()
}

/// Decides everything about one card. `random` gives the host end its name, and the card its address where it has none.
///
/// # Errors
/// [`Error::DeviceValue`].
pub fn plan(
    instance: &Instance,
    device: &str,
    name: &str,
    host: &NicHost,
    random: [u8; 7],
) -> Result<Plan, Error> {
    let empty = DeviceConfig::new();
    let config = instance.devices.get(device).unwrap_or(&empty);
    let mut volatile = Vec::new();
    let mut remember = |key: &str, value: &str| {
        if instance.volatile(device, key) != Some(value) {
            volatile.push((format!("volatile.{device}.{key}"), value.to_owned()));
        }
    };
    let [a, b, c, d, x, y, z] = random;
    let host_name = match value(config, "host_name") {
        Some(host_name) => host_name.to_owned(),
        // A new name each time: the old card may still be on its way out.
        None => format!("veth{a:02x}{b:02x}{c:02x}{d:02x}"),
    };
    remember("host_name", &host_name);
    let given = value(config, "hwaddr").or_else(|| instance.volatile(device, "hwaddr"));
    let hwaddr = match given {
        Some(text) => parse_hwaddr(text).ok_or_else(|| {
            Error::DeviceValue(format!("Invalid value for hwaddr: {text:?} is not a MAC address"))
        })?,
        None => [0x00, 0x16, 0x3e, x, y, z],
    };
    if value(config, "hwaddr").is_none() {
        remember("hwaddr", &format_hwaddr(hwaddr));
    }
    if value(config, "name").is_none() {
        remember("name", name);
    }
    let nic = Nic {
        name: name.to_owned(),
        host_name,
        hwaddr: Some(hwaddr),
        mtu: number(config, "mtu")?.or(host.mtu),
        queue_length: number(config, "queue.tx.length")?,
        master: host.master.clone(),
    };
    Ok(Plan {
        device: device.to_owned(),
        nic,
        volatile,
    })
}

/// Six hexadecimal pairs with colons.
pub fn format_hwaddr([a, b, c, d, e, f]: [u8; 6]) -> String {
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

fn number(config: &DeviceConfig, key: &str) -> Result<Option<u32>, Error> {
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

    #[test]
    fn names_addresses_and_what_is_remembered() {
        let mut instance = plain("/x".as_ref(), "c1");
        instance
            .devices
            .insert("a".into(), device(&[("type", "nic"), ("nictype", "p2p")]));
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
        };
        let made = plan(&instance, "a", "eth1", &host, [1, 2, 3, 4, 5, 6, 7]).unwrap();
        assert_eq!(
            made.nic.to_argument(),
            "name=eth1,host=veth01020304,hwaddr=00:16:3e:05:06:07,mtu=1400,master=br0"
        );
        let keys: Vec<&str> = made.volatile.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(
            keys,
            ["volatile.a.host_name", "volatile.a.hwaddr", "volatile.a.name"]
        );
        for (key, value) in made.volatile {
            instance.config.insert(key, value);
        }
        let again = plan(&instance, "a", "eth1", &NicHost::default(), [9; 7]).unwrap();
        assert_eq!(again.hwaddr(), "00:16:3e:05:06:07");
        assert_eq!(
            again.volatile,
            [("volatile.a.host_name".into(), "veth09090909".into())]
        );
    }

    #[test]
    fn what_is_given_wins_and_nonsense_is_refused() {
        let mut instance = plain("/x".as_ref(), "c1");
        let given = [
            ("type", "nic"),
            ("nictype", "p2p"),
            ("name", "n"),
            ("host_name", "h"),
            ("mtu", "9000"),
        ];
        let mut config = device(&given);
        config.insert("hwaddr".into(), "02:00:00:00:00:01".into());
        instance.devices.insert("a".into(), config);
        let made = plan(
            &instance,
            "a",
            "n",
            &NicHost {
                mtu: Some(1400),
                master: None,
            },
            [1; 7],
        )
        .unwrap();
        assert_eq!(
            made.nic.to_argument(),
            "name=n,host=h,hwaddr=02:00:00:00:00:01,mtu=9000"
        );
        for bad in [
            device(&[("nictype", "p2p"), ("mtu", "x")]),
            device(&[("nictype", "p2p"), ("hwaddr", "zz")]),
            device(&[("nictype", "p2p"), ("name", "0123456789abcdef")]),
            device(&[("nictype", "sriov")]),
            device(&[]),
        ] {
            assert!(check(&bad).is_err(), "{bad:?}");
        }
    }
}
