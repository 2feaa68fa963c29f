//! The host's hardware, as the kernel shows it: `GET /1.0/resources`.

mod cpu;
mod disks;
mod gpu;
mod memory;
mod names;
mod network;
mod pci;
mod sysfs;
mod system;
#[cfg(test)]
mod tests;
mod usb;

use lxd_api::resources::Resources;

use self::names::Names;
use self::sysfs::Host;
use crate::app::blocking;
use crate::error::Result;

/// All that there is. What the kernel doesn't say is left empty.
///
/// # Errors
/// The daemon is stopping.
pub async fn get() -> Result<Resources> {
    blocking(|| Ok(read(&Host::real()))).await
}

fn read(host: &Host) -> Resources {
    let names = Names::of_pci(host);
    Resources {
        cpu: cpu::read(host),
        gpu: gpu::read(host, &names),
        memory: memory::read(host),
        network: network::read(host, &names),
        pci: pci::read(host, &names),
        storage: disks::read(host),
        system: system::read(host),
        usb: usb::read(host),
    }
}
