//! The host's side of a card's life: before it exists, once its end is there, while it changes, after it has gone.

use std::path::Path;

use lxd_model::Invalid;
use lxd_sys::command::{Command, Runner};
use lxd_sys::netlink::{self, Mac, Route, Socket};
use lxd_sys::nft::Batch;
use tokio::task::spawn_blocking;

use super::card::{Card, FILTERS, HostSide};
use super::{addresses, filter, ipvlan, parent, routed, shaping};
use crate::subnet::Subnet;
use crate::{Error, Networks, Result};

/// The keys that decide which addresses a card may use.
const ADDRESSES: [&str; 6] = [
    "ipv4.address",
    "ipv6.address",
    "ipv4.routes",
    "ipv6.routes",
    "ipv4.routes.external",
    "ipv6.routes.external",
];

/// What a card that has gone was before it was one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Before<'a> {
    /// Its name on the host.
    pub name: &'a str,
    /// Its hardware address there; empty where that is not known.
    pub hwaddr: &'a str,
    /// Its packet size there; empty where that is not known.
    pub mtu: &'a str,
    /// Whether a VLAN was made for it.
    pub created: bool,
}

impl Networks {
    /// Before a card exists: says where it belongs, and lays down what must be there before its first packet.
    ///
    /// # Errors
    /// What the card is to be made on is not there; the kernel lacks what it takes; an address is taken.
    pub async fn prepare_card(&self, card: &Card) -> Result<HostSide> {
        shaping::Limits::of(card)?;
        self.check_name(card).await?;
        match card.nictype.as_str() {
            "bridged" => self.prepare_bridged(card).await,
            "routed" => routed::prepare(card).await,
            "macvlan" | "physical" => parent::find(card).await,
            "ipvlan" => ipvlan::prepare(card).await,
            "sriov" => {
                let function = parent::free_function(card.parent()).await?;
                let mut own = card.clone();
                own.network = None;
                own.config.insert("parent".into(), function);
                own.config.remove("vlan");
                parent::find(&own).await
            }
            _ => Ok(HostSide::default()),
        }
    }

    /// Once a card's end on the host is there: routes, limits, isolation.
    ///
    /// # Errors
    /// The first that can't be set up; [`Networks::card_gone`] takes back the others.
    pub async fn card_started(&self, card: &Card) -> Result<()> {
        let owned = card.clone();
        if card.nictype == "ipvlan" {
            return in_kernel(move |socket| ipvlan::connect(socket, &owned)).await;
        }
        let has_end = matches!(card.nictype.as_str(), "bridged" | "p2p" | "routed");
        if !has_end {
            return Ok(());
        }
        if wants_kernel(card) {
            in_kernel(move |socket| connect(socket, &owned)).await?;
        }
        if card.nictype == "routed" {
            self.card_rules(card, "guard the addresses", routed::guard(card))
                .await?;
        }
        if card.nictype == "bridged" {
            vlans(self.host().runner.as_ref(), card).await?;
        }
        let limits = shaping::Limits::of(card)?;
        shaping::apply(self.host().runner.as_ref(), &card.host_name, limits).await
    }

    /// Brings a card that runs from one configuration to another; they differ in routes, limits, addresses and filters only.
    ///
    /// # Errors
    /// What could not be changed; the old configuration is put back as far as that goes.
    pub async fn card_changed(&self, old: &Card, new: &Card) -> Result<()> {
        let changed = self.change_card(old, new).await;
        if changed.is_err()
            && let Err(error) = self.change_card(new, old).await
        {
            tracing::warn!(card = new.chain(), %error, "Failed to take back the change of a card");
        }
        changed
    }

    /// After a card has gone, or when it never came: takes back what is on the host. Harmless where there is nothing.
    ///
    /// # Errors
    /// All that could not be taken back.
    pub async fn card_gone(&self, card: &Card, before: Before<'_>) -> Result<()> {
        let mut errors = Vec::new();
        if card.is_filtered() {
            errors.extend(
                self.card_rules(card, "remove the filters", filter::remove(card))
                    .await
                    .err(),
            );
        }
        match card.nictype.as_str() {
            "bridged" if has_routes(card) => errors.extend(self.routes(card, Vec::new()).await.err()),
            "routed" => {
                let owned = card.clone();
                let done = in_kernel(move |socket| routed::disconnect(socket, &owned));
                errors.extend(done.await.err());
                errors.extend(
                    self.card_rules(card, "remove the guard", routed::unguard(card))
                        .await
                        .err(),
                );
            }
            "ipvlan" => {
                let owned = card.clone();
                let done = in_kernel(move |socket| ipvlan::disconnect(socket, &owned));
                errors.extend(done.await.err());
            }
            "physical" | "sriov" if !before.name.is_empty() => {
                errors.extend(
                    parent::restore(before.name, before.hwaddr, before.mtu)
                        .await
                        .err(),
                );
            }
            _ => {}
        }
        if matches!(card.nictype.as_str(), "bridged" | "p2p" | "routed") && !before.name.is_empty() {
            let name = before.name.to_owned();
            errors.extend(in_kernel(move |socket| remove_pair(socket, &name)).await.err());
        }
        if before.created {
            errors.extend(parent::remove_vlan(card).await.err());
        }
        Error::collect(errors)
    }

    async fn prepare_bridged(&self, card: &Card) -> Result<HostSide> {
        let name = card.parent().to_owned();
        let wanted = name.clone();
        let link = netlink::run(move |socket| socket.link(&wanted))
            .await
            .map_err(Error::Interfaces)?;
        let Some(link) = link else {
            return Err(Invalid::new(format!("Parent device {name:?} doesn't exist")).into());
        };
        if link.bridge.is_none() {
            return Err(Invalid::new(format!("Parent device {name:?} is not a bridge")).into());
        }
        check_vlans(card).await?;
        self.tell_addresses(card, true).await?;
        Ok(HostSide {
            master: Some(name),
            mtu: Some(link.mtu),
            ..HostSide::default()
        })
    }

    /// Tells dnsmasq which addresses a card has, and the filters which it may use.
    async fn tell_addresses(&self, card: &Card, is_new: bool) -> Result<()> {
        let directory = match &card.network {
            Some(network) => network.directory(self.host()),
            None => self.host().networks(),
        };
        let fixed = {
            let _giving = self.host().giving.lock().await;
            let fixed = addresses::fixed(card, &directory).await?;
            if let Some(network) = &card.network {
                let mut entry = addresses::entry(card);
                (entry.ipv4, entry.ipv6) = fixed;
                self.bridge().add_hosts(network, &[entry]).await?;
            }
            fixed
        };
        if card.is_filtered() {
            let mac = card.hwaddr.parse::<Mac>().map_err(Invalid::new)?;
            let batch = filter::apply(card, mac, fixed.0, fixed.1);
            self.card_rules(card, "set up the filters", batch).await?;
        } else if !is_new {
            self.card_rules(card, "remove the filters", filter::remove(card))
                .await?;
        }
        Ok(())
    }

    async fn change_card(&self, old: &Card, new: &Card) -> Result<()> {
        let differs = |keys: &[&str]| keys.iter().any(|key| old.get(key) != new.get(key));
        let limits = shaping::Limits::of(new)?;
        if new.nictype == "bridged" && (differs(&FILTERS) || differs(&ADDRESSES)) {
            self.tell_addresses(new, !(old.is_filtered() || new.is_filtered()))
                .await?;
        }
        if differs(&ADDRESSES) {
            self.routes(old, nets(new)).await?;
            let owned = new.clone();
            in_kernel(move |socket| connect(socket, &owned)).await?;
        }
        if differs(&shaping::KEYS) {
            let runner = self.host().runner.as_ref();
            shaping::clear(runner, &new.host_name).await;
            shaping::apply(runner, &new.host_name, limits).await?;
        }
        Ok(())
    }

    /// Removes the routes of a card to those networks that are not among `kept`.
    async fn routes(&self, card: &Card, kept: Vec<Subnet>) -> Result<()> {
        let owned = card.clone();
        in_kernel(move |socket| {
            let link = socket.link(route_link(&owned)).map_err(Error::Interfaces)?;
            let Some(link) = link else { return Ok(()) };
            for net in nets(&owned).into_iter().filter(|net| !kept.contains(net)) {
                let route = Route::direct(net.network(), net.prefix, link.index);
                socket.delete_route(&route).map_err(Error::Interfaces)?;
            }
            Ok(())
        })
        .await
    }

    async fn card_rules(&self, card: &Card, what: &'static str, batch: Batch) -> Result<()> {
        let applied = batch.apply(self.host().runner.as_ref()).await;
        applied.map_err(|source| Error::CardRules {
            what,
            card: card.chain(),
            source,
        })
    }

    /// Refuses a name for the host's end that somebody has.
    async fn check_name(&self, card: &Card) -> Result<()> {
        let name = card.get("host_name").to_owned();
        if name.is_empty() {
            return Ok(());
        }
        let failed = |why: &str| {
            let text = format!(
                "Failed to create the veth interface {:?}: {why}",
                card.get("host_name")
            );
            Error::from(Invalid::new(text))
        };
        if name.len() > 15 || name.contains('/') {
            return Err(failed("Not a name for a network interface"));
        }
        let link = netlink::run(move |socket| socket.link(&name))
            .await
            .map_err(Error::Interfaces)?;
        // The end of this card's last life may be on its way out.
        match link.filter(|link| link.kind != "veth") {
            Some(_) => Err(failed("File exists")),
            None => Ok(()),
        }
    }
}

/// Removes a pair that came back to the host whole, as those do that the reference has made. One whose other end is elsewhere
/// goes with the container's namespace. Blocking.
fn remove_pair(socket: &mut Socket, name: &str) -> Result<()> {
    let link = socket.link(name).map_err(Error::Interfaces)?;
    if link.is_some_and(|link| link.kind == "veth" && link.peer_netns.is_none()) {
        socket.delete_link(name).map_err(Error::Interfaces)?;
    }
    Ok(())
}

/// The link that routes to the networks behind a card go to.
fn route_link(card: &Card) -> &str {
    if card.nictype == "bridged" {
        card.parent()
    } else {
        &card.host_name
    }
}

fn nets(card: &Card) -> Vec<Subnet> {
    let mut nets = card.routes(true);
    nets.extend(card.routes(false));
    nets
}

fn has_routes(card: &Card) -> bool {
    !nets(card).is_empty()
}

fn wants_kernel(card: &Card) -> bool {
    card.nictype == "routed" || has_routes(card) || card.is_on("security.port_isolation")
}

fn connect(socket: &mut Socket, card: &Card) -> Result<()> {
    if card.nictype == "routed" {
        return routed::connect(socket, card);
    }
    if card.is_on("security.port_isolation") {
        let path = Path::new("/sys/class/net")
            .join(&card.host_name)
            .join("brport/isolated");
        std::fs::write(&path, "1").map_err(|source| Error::File {
            what: "write",
            path,
            source,
        })?;
    }
    let index = socket.index(route_link(card)).map_err(Error::Interfaces)?;
    for net in nets(card) {
        let route = Route::direct(net.network(), net.prefix, index);
        socket.replace_route(&route).map_err(Error::Interfaces)?;
    }
    Ok(())
}

/// Refuses VLANs on a bridge that can't filter them.
async fn check_vlans(card: &Card) -> Result<()> {
    let is_plain = |value: &str| value.is_empty() || value == "none";
    if card.get("vlan").is_empty() && is_plain(card.get("vlan.tagged")) {
        return Ok(());
    }
    let bridge = card.parent();
    let path = format!("/sys/class/net/{bridge}/bridge/vlan_filtering");
    if tokio::fs::metadata(&path).await.is_err() {
        let text = format!(
            "Failed getting bridge VLAN status for {bridge:?}: open {path}: no such file or directory"
        );
        return Err(Invalid::new(text).into());
    }
    // The bridge's other ports stay in its default VLAN.
    tokio::fs::write(&path, "1").await.map_err(|source| Error::File {
        what: "write",
        path: path.into(),
        source,
    })
}

/// Puts the host's end into its VLANs.
async fn vlans(runner: &dyn Runner, card: &Card) -> Result<()> {
    let link = card.host_name.as_str();
    let mut commands = Vec::new();
    let untagged = card.get("vlan");
    if !untagged.is_empty() {
        commands.push(format!("vlan del dev {link} vid 1"));
    }
    if !matches!(untagged, "" | "none") {
        commands.push(format!("vlan add dev {link} vid {untagged} pvid untagged"));
    }
    let tagged = card.list("vlan.tagged");
    commands.extend(tagged.map(|range| format!("vlan add dev {link} vid {}", range.replace(' ', ""))));
    for command in commands {
        let run = runner.run(Command::new("bridge").args(command.split(' '))).await;
        run.map_err(|source| Error::CardRules {
            what: "set up the VLANs",
            card: card.chain(),
            source,
        })?;
    }
    Ok(())
}

/// Asks the kernel, on a thread that may wait.
async fn in_kernel<T: Send + 'static>(
    work: impl FnOnce(&mut Socket) -> Result<T> + Send + 'static,
) -> Result<T> {
    let work = move || work(&mut Socket::open().map_err(Error::Interfaces)?);
    spawn_blocking(work).await.map_err(Error::Stopped)?
}
