//! `limits.network.priority`: the priority of what a container sends through its cards' ends on the host.

use liblxc::nic::Kind;
use lxd_sys::cgroup::{Group, Version, Write};

use super::blocking;
use super::guest::Container;
use crate::devices::Plan;
use crate::error::Error;
use crate::instance::Instance;

const KEY: &str = "limits.network.priority";
const CONTROLLER: &str = "net_prio";

impl Container {
    /// Sets the priority for the cards of devices that have just come.
    pub(super) async fn prioritise_plans(&self, instance: &Instance, plans: &[Plan]) -> Result<(), Error> {
        if instance.config(KEY).is_none() || !self.knows_priorities() {
            return Ok(());
        }
        let cards = plans.iter().flat_map(|plan| &plan.cards);
        let pairs = cards.filter(|card| card.kind == Kind::Veth);
        let writes = writes(instance, pairs.map(|card| card.host_name.as_str()));
        let group = self.group.clone();
        blocking(move || {
            apply(&group, &writes);
            Ok(())
        })
        .await
    }

    /// Sets another priority for the cards that the container has.
    pub(super) fn change_priority(&self, old: &Instance, new: &Instance) {
        if old.config(KEY) != new.config(KEY) && self.knows_priorities() {
            apply(&self.group, &writes(new, cards_of(new)));
        }
    }

    /// As with the reference the key does nothing where the kernel gives groups no priorities.
    fn knows_priorities(&self) -> bool {
        self.shared.cgroups.version(CONTROLLER) == Some(Version::V1)
    }
}

/// A card that has just gone is no reason to fail.
fn apply(group: &Group, writes: &[Write]) {
    for write in writes {
        if let Err(error) = group.write(write) {
            tracing::warn!(group = group.path(), %error, "Failed to set the priority of a network card");
        }
    }
}

/// The cards of the host that the container's hang on, as noted when they were made.
fn cards_of(instance: &Instance) -> impl Iterator<Item = &str> {
    let noted = instance.config.iter().filter(|(key, value)| {
        let name = key
            .strip_prefix("volatile.")
            .and_then(|key| key.strip_suffix(".host_name"));
        name.is_some() && !value.is_empty()
    });
    noted.map(|(_, value)| value.as_str())
}

fn writes<'a>(instance: &Instance, cards: impl Iterator<Item = &'a str>) -> Vec<Write> {
    let priority = instance.config(KEY).unwrap_or("0");
    let write = |card: &str| Write {
        version: Version::V1,
        controller: CONTROLLER,
        file: "net_prio.ifpriomap",
        value: format!("{card} {priority}"),
    };
    cards.map(write).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::tests::plain;

    #[test]
    fn every_card_has_the_priority() {
        let mut instance = plain("/x".as_ref(), "c");
        let config = [
            (KEY, "7"),
            ("volatile.eth0.host_name", "veth1"),
            ("volatile.eth1.host_name", "veth2"),
            ("volatile.eth2.hwaddr", "x"),
        ];
        instance.config = config.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let values = |instance: &Instance| {
            let all = writes(instance, cards_of(instance));
            all.into_iter().map(|write| write.value).collect::<Vec<_>>()
        };
        assert_eq!(values(&instance), ["veth1 7", "veth2 7"]);
        instance.config.remove(KEY);
        assert_eq!(values(&instance), ["veth1 0", "veth2 0"]);
    }
}
