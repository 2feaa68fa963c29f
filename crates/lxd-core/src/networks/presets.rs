//! What cards get from the networks that are presets for them: kept in memory, as every look at an instance asks for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use lxd_model::devices::{Device, Devices, property};
use parking_lot::RwLock;

use super::stored;
use super::works::Stored;
use crate::app::App;
use crate::error::Result;

/// Configurations of cards by the name of the network.
#[derive(Default)]
pub struct Presets(RwLock<Arc<BTreeMap<String, Device>>>);

impl Presets {
    /// Devices as they are run: cards on a preset with what it says.
    pub(crate) fn applied(&self, devices: &Devices) -> Devices {
        let presets = Arc::clone(&self.0.read());
        let mut applied = devices.clone();
        if presets.is_empty() {
            return applied;
        }
        let cards = applied
            .values_mut()
            .filter(|device| property(device, "type") == "nic");
        for card in cards {
            let Some(preset) = presets.get(property(card, "network")) else {
                continue;
            };
            for (key, value) in preset {
                card.insert(key.clone(), value.clone());
            }
        }
        applied
    }
}

/// Reads again what the database says: before instances are looked at, and after networks have changed.
///
/// # Errors
/// The database can't be read.
pub(crate) async fn reload(app: &App) -> Result<()> {
    let mut presets = BTreeMap::new();
    for row in stored(app).await? {
        let Ok(driver) = app.networks.driver(row.kind.as_str()) else {
            continue;
        };
        let card = driver.card(&Stored::of(&row).plain());
        if !card.is_empty() {
            presets.insert(row.name, card);
        }
    }
    *app.presets.0.write() = Arc::new(presets);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_on_a_preset_get_what_it_says() {
        let device = |pairs: &[(&str, &str)]| -> Device {
            let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            pairs.iter().map(owned).collect()
        };
        let presets = Presets::default();
        let card = device(&[("type", "nic"), ("network", "m"), ("name", "eth0")]);
        let other = device(&[("type", "nic"), ("network", "lxdbr0")]);
        let devices = Devices::from([("a".to_owned(), card), ("b".to_owned(), other.clone())]);
        assert_eq!(presets.applied(&devices), devices);
        let preset = device(&[("nictype", "macvlan"), ("parent", "eth0")]);
        *presets.0.write() = Arc::new(BTreeMap::from([("m".to_owned(), preset)]));
        let applied = presets.applied(&devices);
        assert_eq!(property(&applied["a"], "parent"), "eth0");
        assert_eq!(property(&applied["a"], "name"), "eth0");
        assert_eq!(applied["b"], other);
    }
}
