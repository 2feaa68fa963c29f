//! Settings of the kernel that a card needs, by interface.

use lxd_model::Invalid;
use lxd_sys::system;

use super::card::Card;
use crate::{Error, Result};

/// Checks that settings are on, each given by family, link and name. What the kernel does not have is not asked for.
///
/// # Errors
/// The first that is off, in the name of the kind of card.
pub(super) fn check(what: &str, wanted: &[[&str; 3]]) -> Result<()> {
    for [family, link, setting] in wanted {
        let value = system::sysctl(&format!("net/{family}/conf/{link}/{setting}"));
        if value.is_ok_and(|value| value != "1") {
            let text = format!("{what} requires sysctl net.{family}.conf.{link}.{setting}=1");
            return Err(Invalid::new(text).into());
        }
    }
    Ok(())
}

/// Sets one for a card, by its path beneath `net/`.
pub(super) fn set(card: &Card, name: &str, value: &str) -> Result<()> {
    system::set_sysctl(&format!("net/{name}"), value).map_err(|source| Error::Sysctl {
        network: card.chain(),
        source,
    })
}
