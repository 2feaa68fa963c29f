//! Starting all devices of an instance, putting them away, and changing those of one that runs: all of a change or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use lxd_model::devices::{Changes, changes, is_root_disk, start_order};

use super::{Device, DeviceConfig, Host, Plan, Watches, all, kind_of};
use crate::drivers::Guest;
use crate::error::Error;
use crate::instance::Instance;

/// `volatile.*` keys to be stored; an empty value takes one away.
pub type Volatile = Vec<(String, String)>;

/// Makes ready what a start needs of every device.
///
/// # Errors
/// [`Error::Device`] with the first that can't be made ready; [`stopped`] undoes the others, whose plans are there.
pub async fn prepare(host: &Host, instance: &Arc<Instance>, plans: &mut Vec<Plan>) -> Result<(), Error> {
    for device in all(instance) {
        let kind = kind_of(&device).map_err(|source| device.failed(source))?;
        let plan = kind.prepare(host, &device).await;
        plans.push(plan.map_err(|source| not_ready(&device, source))?);
    }
    Ok(())
}

/// The reference looks for the sources of disks when it reads the devices.
fn not_ready(device: &Device, source: Error) -> Error {
    match source {
        Error::MissingSource(_) => Error::DeviceValidation {
            device: device.name.clone(),
            source: Box::new(source),
        },
        source => device.failed(source),
    }
}

/// Tells every device that the guest runs.
///
/// # Errors
/// The reason of the first that can't go on, without its name, as the reference has it.
pub async fn started(
    host: &Host,
    instance: &Arc<Instance>,
    plans: &[Plan],
    guest: &Arc<dyn Guest>,
) -> Result<(), Error> {
    for device in all(instance) {
        let Some(plan) = plans.iter().find(|plan| plan.device == device.name) else {
            continue;
        };
        kind_of(&device)?.started(host, &device, plan, guest).await?;
    }
    Ok(())
}

/// Puts away what the devices of a stopped instance have on the host, the last one first. Collects all errors.
pub async fn stopped(host: &Host, instance: &Arc<Instance>) -> Vec<Error> {
    let mut errors = Vec::new();
    for device in all(instance).into_iter().rev() {
        if let Ok(kind) = kind_of(&device) {
            let left = kind.stopped(host, &device).await;
            errors.extend(left.into_iter().map(|source| not_stopped(&device, source)));
        }
    }
    errors
}

/// Brings the devices of a running guest from those of `old` to those of `new`.
///
/// # Errors
/// [`Error::Device`] with the first that can't be changed, after the changes before it were taken back.
pub async fn change(
    host: &Host,
    guest: &Arc<dyn Guest>,
    old: &Arc<Instance>,
    new: &Arc<Instance>,
) -> Result<Volatile, Error> {
    let mut differences = changes(&old.devices, &new.devices);
    keep_root(&mut differences);
    let of = |instance: &Arc<Instance>, devices: &BTreeMap<String, DeviceConfig>| -> Vec<Device> {
        let ordered = start_order(devices).into_iter();
        let device = |(name, config): (&str, &DeviceConfig)| Device {
            instance: instance.clone(),
            name: name.to_owned(),
            config: config.clone(),
        };
        ordered.map(device).collect()
    };
    let (removed, added) = (of(old, &differences.removed), of(new, &differences.added));
    for device in &added {
        let checked = kind_of(device).and_then(|kind| kind.check(device));
        checked.map_err(|source| device.failed(source))?;
    }
    let mut steps: Vec<Step> = removed.into_iter().rev().map(Step::Unplug).collect();
    steps.extend(of(new, &differences.updated).into_iter().filter_map(|new| {
        let config = old.devices.get(&new.name)?.clone();
        let old = Device {
            instance: old.clone(),
            name: new.name.clone(),
            config,
        };
        Some(Step::Update { old, new })
    }));
    steps.extend(added.into_iter().map(Step::Plug));
    let mut volatile = Volatile::new();
    let mut done = Vec::new();
    for mut step in steps {
        match step.run(host, guest).await {
            Ok(keys) => {
                volatile.extend(keys);
                done.push(step);
            }
            Err(error) => {
                if matches!(step, Step::Unplug(_)) {
                    // Half of it may be out already.
                    done.push(step);
                }
                take_back(host, guest, done).await;
                return Err(error);
            }
        }
    }
    Ok(volatile)
}

/// Lets every device look at what the host has now. A device that can't is logged: nobody waits for it.
pub async fn refresh(host: &Host, guest: &Arc<dyn Guest>, instance: &Arc<Instance>) {
    for device in all(instance) {
        let Ok(kind) = kind_of(&device) else { continue };
        if let Err(error) = kind.refresh(host, &device, guest).await {
            let reason = crate::error::chain(&error);
            tracing::warn!(instance = %instance.key, device = device.name, reason, "A device can't follow the host");
        }
    }
}

/// What the devices of an instance want to be told of while it runs.
pub fn watches(instance: &Arc<Instance>) -> Watches {
    let mut wanted = Watches::default();
    for device in all(instance) {
        let Ok(kind) = kind_of(&device) else { continue };
        let own = kind.watches(&device);
        wanted.paths.extend(own.paths);
        wanted.hardware |= own.hardware;
    }
    wanted
}

/// A running instance keeps its root: what changes of that disk takes effect at the next start.
fn keep_root(changes: &mut Changes) {
    if changes.removed.values().any(is_root_disk) && changes.added.values().any(is_root_disk) {
        changes.removed.retain(|_, device| !is_root_disk(device));
        changes.added.retain(|_, device| !is_root_disk(device));
    }
}

/// One change of one device.
enum Step {
    Unplug(Device),
    Update { old: Device, new: Device },
    Plug(Device),
}

impl Step {
    async fn run(&mut self, host: &Host, guest: &Arc<dyn Guest>) -> Result<Volatile, Error> {
        match self {
            Self::Unplug(device) => unplug(host, guest, device).await.map(|()| Volatile::new()),
            Self::Plug(device) => {
                let volatile = plug(host, guest, device).await?;
                // To be known if it is taken back.
                remember(device, &volatile);
                Ok(volatile)
            }
            Self::Update { old, new } => {
                let failed = |source| Error::Device {
                    action: "update",
                    device: new.name.clone(),
                    source: Box::new(source),
                };
                kind_of(new)?.update(host, old, new, guest).await.map_err(failed)
            }
        }
    }

    fn reversed(self) -> Self {
        match self {
            Self::Unplug(device) => Self::Plug(device),
            Self::Plug(device) => Self::Unplug(device),
            Self::Update { old, new } => Self::Update { old: new, new: old },
        }
    }
}

async fn take_back(host: &Host, guest: &Arc<dyn Guest>, done: Vec<Step>) {
    for step in done.into_iter().rev() {
        if let Err(error) = step.reversed().run(host, guest).await {
            let reason = crate::error::chain(&error);
            tracing::error!(reason, "Failed to take back the change of a device");
        }
    }
}

/// Gives a running guest a device. A failure leaves nothing.
async fn plug(host: &Host, guest: &Arc<dyn Guest>, device: &Device) -> Result<Volatile, Error> {
    let mut known = device.clone();
    let plugged = plug_steps(host, guest, &mut known).await;
    if plugged.is_err()
        && let Ok(kind) = kind_of(device)
    {
        for error in kind.stopped(host, &known).await {
            let reason = crate::error::chain(&error);
            tracing::warn!(device = device.name, reason, "Failed to undo a part of a device");
        }
    }
    plugged.map_err(|source| device.failed(source))
}

/// What is made ready is noted at the device, whatever becomes of it.
async fn plug_steps(host: &Host, guest: &Arc<dyn Guest>, device: &mut Device) -> Result<Volatile, Error> {
    let kind = kind_of(device)?;
    if !kind.hot_plugs(device) {
        let text = "Device cannot be started when instance is running";
        return Err(Error::DeviceValue(text.into()));
    }
    let plan = kind.prepare(host, device).await?;
    remember(device, &plan.volatile);
    guest.attach(&device.instance, &plan).await?;
    if let Err(error) = kind.started(host, device, &plan, guest).await {
        for error in guest.detach(&device.instance, &plan).await {
            let reason = crate::error::chain(&error);
            tracing::warn!(device = device.name, reason, "Failed to undo a part of a device");
        }
        return Err(error);
    }
    Ok(plan.volatile)
}

/// Takes a device out of a running guest.
async fn unplug(host: &Host, guest: &Arc<dyn Guest>, device: &Device) -> Result<(), Error> {
    let kind = kind_of(device).map_err(|source| not_stopped(device, source))?;
    if !kind.hot_plugs(device) {
        let text = "Device cannot be stopped when instance is running";
        return Err(not_stopped(device, Error::DeviceValue(text.into())));
    }
    let plan = kind.present(host, device).await;
    let plan = plan.map_err(|source| not_stopped(device, source))?;
    let mut left = guest.detach(&device.instance, &plan).await;
    left.extend(kind.stopped(host, device).await);
    let mut left = left.into_iter();
    let Some(first) = left.next() else {
        return Ok(());
    };
    for error in left {
        let reason = crate::error::chain(&error);
        tracing::warn!(
            device = device.name,
            reason,
            "Failed to take out a part of a device"
        );
    }
    Err(not_stopped(device, first))
}

fn remember(device: &mut Device, volatile: &[(String, String)]) {
    device.instance = Arc::new(device.instance.with_volatile(volatile));
}

fn not_stopped(device: &Device, source: Error) -> Error {
    Error::Device {
        action: "stop",
        device: device.name.clone(),
        source: Box::new(source),
    }
}
