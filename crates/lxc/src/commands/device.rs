//! `lxc config device` and `lxc profile device`: the devices of instances and of profiles.

use std::collections::BTreeMap;

use lxd_api::instances::{Instance, InstancePut};
use lxd_api::profiles::{Profile, ProfilePut};
use lxd_client::{Etag, path};

use crate::context::{Context, Resource};
use crate::error::{Error, Result};
use crate::key_values::pairs;
use crate::render::{print_line, print_yaml};

/// What has devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// An instance, which also has those of its profiles.
    Instance,
    /// A profile.
    Profile,
}

type Devices = BTreeMap<String, BTreeMap<String, String>>;

/// The devices of one instance or profile, to be changed.
struct Owned {
    owner: Either,
    etag: Etag,
    place: Resource,
}

enum Either {
    Instance(Box<Instance>),
    Profile(Box<Profile>),
}

/// The commands about devices, by their last word.
pub(crate) async fn run(cx: &Context, owner: Owner, what: &str) -> Result<()> {
    match what {
        "add" => add(cx, owner).await,
        "get" => get(cx, owner).await,
        "list" => list(cx, owner).await,
        "override" => override_device(cx, owner).await,
        "remove" => remove(cx, owner).await,
        "set" => set(cx, owner).await,
        "show" => print_yaml(Owned::load(cx, owner).await?.devices()),
        "unset" => unset(cx, owner).await,
        _ => super::not_yet(),
    }
}

async fn add(cx: &Context, owner: Owner) -> Result<()> {
    let (name, kind) = (cx.argument(1), cx.argument(2));
    let mut device = BTreeMap::from([("type".to_string(), kind.to_string())]);
    device.extend(settings(cx.arguments().get(3..).unwrap_or_default())?);
    let mut owned = Owned::load(cx, owner).await?;
    if owned.devices().contains_key(name) {
        return Err(Error::message("The device already exists"));
    }
    owned.devices_mut().insert(name.into(), device);
    let to = owned.save(cx).await?;
    cx.tell(&format!("Device {name} added to {to}"))
}

async fn get(cx: &Context, owner: Owner) -> Result<()> {
    let owned = Owned::load(cx, owner).await?;
    let device = owned.device(
        cx.argument(1),
        "Device from profile(s) cannot be retrieved for individual instance",
    )?;
    print_line(device.get(cx.argument(2)).map_or("", String::as_str))
}

async fn list(cx: &Context, owner: Owner) -> Result<()> {
    let owned = Owned::load(cx, owner).await?;
    // An empty line stands for none, as scripts know it.
    let names: Vec<&str> = owned.devices().keys().map(String::as_str).collect();
    print_line(&names.join("\n"))
}

async fn override_device(cx: &Context, owner: Owner) -> Result<()> {
    let name = cx.argument(1);
    let mut owned = Owned::load(cx, owner).await?;
    if owned.devices().contains_key(name) {
        return Err(Error::message("The device already exists"));
    }
    let inherited = owned.inherited().and_then(|devices| devices.get(name)).cloned();
    let mut device = inherited.ok_or_else(|| Error::message("The profile device doesn't exist"))?;
    device.extend(settings(cx.arguments().get(2..).unwrap_or_default())?);
    owned.devices_mut().insert(name.into(), device);
    let to = owned.save(cx).await?;
    cx.tell(&format!("Device {name} overridden for {to}"))
}

async fn remove(cx: &Context, owner: Owner) -> Result<()> {
    let names = &cx.arguments()[1..];
    let mut owned = Owned::load(cx, owner).await?;
    for name in names {
        owned.device(
            name,
            "Device from profile(s) cannot be removed from individual instance. Override device or modify profile instead",
        )?;
        owned.devices_mut().remove(name);
    }
    let from = owned.save(cx).await?;
    cx.tell(&format!("Device {} removed from {from}", names.join(", ")))
}

async fn set(cx: &Context, owner: Owner) -> Result<()> {
    change(cx, owner, pairs(&cx.arguments()[2..])?).await
}

async fn unset(cx: &Context, owner: Owner) -> Result<()> {
    change(
        cx,
        owner,
        BTreeMap::from([(cx.argument(2).to_string(), String::new())]),
    )
    .await
}

/// Sets values of a device; the server takes an empty one away, and knows whether there is such a key.
async fn change(cx: &Context, owner: Owner, changes: BTreeMap<String, String>) -> Result<()> {
    let name = cx.argument(1);
    let mut owned = Owned::load(cx, owner).await?;
    owned.device(
        name,
        "Device from profile(s) cannot be modified for individual instance. Override device or modify profile instead",
    )?;
    owned
        .devices_mut()
        .entry(name.into())
        .or_default()
        .extend(changes);
    owned.save(cx).await.map(drop)
}

impl Owned {
    async fn load(cx: &Context, owner: Owner) -> Result<Self> {
        let place = cx.resource(cx.argument(0))?;
        if place.name.is_empty() {
            return Err(Error::message("Missing name"));
        }
        let (owner, etag) = match owner {
            Owner::Instance => {
                let (instance, etag) = place.client.instance(&place.name).await?;
                (Either::Instance(Box::new(instance)), etag)
            }
            Owner::Profile => {
                let (profile, etag) = place
                    .client
                    .get_with_etag(&path(&["profiles", &place.name]))
                    .await?;
                (Either::Profile(Box::new(profile)), etag)
            }
        };
        Ok(Self { owner, etag, place })
    }

    fn devices(&self) -> &Devices {
        match &self.owner {
            Either::Instance(instance) => &instance.devices,
            Either::Profile(profile) => &profile.devices,
        }
    }

    fn devices_mut(&mut self) -> &mut Devices {
        match &mut self.owner {
            Either::Instance(instance) => &mut instance.devices,
            Either::Profile(profile) => &mut profile.devices,
        }
    }

    /// The devices of an instance and of its profiles.
    fn inherited(&self) -> Option<&Devices> {
        match &self.owner {
            Either::Instance(instance) => Some(&instance.expanded_devices),
            Either::Profile(_) => None,
        }
    }

    /// One of the devices; `elsewhere` is said of one that a profile has.
    fn device(&self, name: &str, elsewhere: &str) -> Result<&BTreeMap<String, String>> {
        self.devices().get(name).ok_or_else(|| {
            let inherited = self.inherited().is_some_and(|devices| devices.contains_key(name));
            Error::message(if inherited {
                elsewhere
            } else {
                "Device doesn't exist"
            })
        })
    }

    /// Sends the changed devices; gives the owner's name.
    async fn save(self, cx: &Context) -> Result<String> {
        let Resource { client, name, .. } = self.place;
        match self.owner {
            Either::Instance(instance) => {
                let background = client
                    .update_instance(&name, &InstancePut::from(&*instance), &self.etag)
                    .await?;
                cx.wait(&background, "").await?;
            }
            Either::Profile(profile) => {
                client
                    .replace(
                        &path(&["profiles", &name]),
                        &ProfilePut::from(&*profile),
                        &self.etag,
                    )
                    .await?;
            }
        }
        Ok(name)
    }
}

/// Takes the `key=value` words of a new device apart.
fn settings(words: &[String]) -> Result<BTreeMap<String, String>> {
    let parse = |word: &String| match word.split_once('=') {
        Some((key, value)) => Ok((key.to_string(), value.to_string())),
        None => Err(Error::message(format!("No value found in {word:?}"))),
    };
    words.iter().map(parse).collect()
}
