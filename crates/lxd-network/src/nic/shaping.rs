//! Limits on what a card carries, by tc(8) on its host's end.

use lxd_model::units::parse_bits;
use lxd_sys::command::{Command, Runner};

use super::card::Card;
use crate::{Error, Result};

/// The keys of limits.
pub(super) const KEYS: [&str; 3] = ["limits.ingress", "limits.egress", "limits.max"];

/// Bits per second in both directions, as the instance sees them; nothing is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Limits {
    ingress: Option<i64>,
    egress: Option<i64>,
}

impl Limits {
    /// Reads a card's limits.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a value that is none.
    pub(super) fn of(card: &Card) -> Result<Self> {
        let read = |key: &str| {
            let text = match card.get("limits.max") {
                "" => card.get(key),
                both => both,
            };
            let bits = parse_bits(text)?;
            Ok::<_, Error>((bits > 0).then_some(bits))
        };
        Ok(Self {
            ingress: read("limits.ingress")?,
            egress: read("limits.egress")?,
        })
    }

    fn commands(self, link: &str) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        if let Some(rate) = self.ingress {
            // What comes into the instance goes out of the host's end.
            all.push((
                "root tc qdisc",
                format!("qdisc add dev {link} root handle 1:0 htb default 10"),
            ));
            all.push((
                "limit tc class",
                format!("class add dev {link} parent 1:0 classid 1:10 htb rate {rate}bit"),
            ));
            let filter =
                format!("filter add dev {link} parent 1:0 protocol all u32 match u32 0 0 flowid 1:1");
            all.push(("tc filter", filter));
        }
        if let Some(rate) = self.egress {
            all.push((
                "ingress tc qdisc",
                format!("qdisc add dev {link} handle ffff:0 ingress"),
            ));
            let filter = format!(
                "filter add dev {link} parent ffff:0 protocol all u32 match u32 0 0 police rate {rate}bit burst 1024k mtu 64kb drop"
            );
            all.push(("ingress tc filter", filter));
        }
        all
    }
}

/// Limits a link that has no limits yet: 3 ms for each command.
///
/// # Errors
/// [`Error::Shaping`] with tc's own words; the link then has a part of the limits.
pub(super) async fn apply(runner: &dyn Runner, link: &str, limits: Limits) -> Result<()> {
    for (what, command) in limits.commands(link) {
        let run = runner.run(Command::new("tc").args(command.split(' '))).await;
        run.map_err(|failed| Error::Shaping {
            what,
            command: format!("tc {command}"),
            failed,
        })?;
    }
    Ok(())
}

/// Takes all limits from a link.
pub(super) async fn clear(runner: &dyn Runner, link: &str) {
    for kind in ["root", "ingress"] {
        let command = Command::new("tc").args(["qdisc", "del", "dev", link, kind]);
        // One that has none is as good.
        let _ = runner.run(command).await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::card::card;
    use super::*;

    #[tokio::test]
    async fn limits_are_tcs_commands() {
        let recorder = lxd_sys::command::Recorder::new();
        let limits = Limits::of(&card(
            "p2p",
            &[("limits.ingress", "1Mbit"), ("limits.egress", "2Mbit")],
        ))
        .unwrap();
        apply(&recorder, "veth1", limits).await.unwrap();
        let lines: Vec<String> = recorder.seen().into_iter().map(|seen| seen.line).collect();
        assert_eq!(
            lines,
            [
                "tc qdisc add dev veth1 root handle 1:0 htb default 10",
                "tc class add dev veth1 parent 1:0 classid 1:10 htb rate 1000000bit",
                "tc filter add dev veth1 parent 1:0 protocol all u32 match u32 0 0 flowid 1:1",
                "tc qdisc add dev veth1 handle ffff:0 ingress",
                "tc filter add dev veth1 parent ffff:0 protocol all u32 match u32 0 0 police rate 2000000bit burst 1024k mtu 64kb drop",
            ]
        );
        let both = Limits::of(&card("p2p", &[("limits.max", "5Mbit")])).unwrap();
        assert_eq!(
            both,
            Limits {
                ingress: Some(5_000_000),
                egress: Some(5_000_000)
            }
        );
        assert_eq!(Limits::of(&card("p2p", &[])).unwrap(), Limits::default());
        let wrong = Limits::of(&card("p2p", &[("limits.max", "foo")])).unwrap_err();
        assert_eq!(wrong.to_string(), "Invalid value: foo");
    }
}
