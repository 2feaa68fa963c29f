//! `infiniband`: cards of the host that go to an instance, with their nodes.

use std::path::Path;

use futures::future::BoxFuture;

use super::{Device, Host, Kind, Plan};
use crate::error::Error;

/// The kind.
pub struct Infiniband;

impl Kind for Infiniband {
    fn check(&self, _device: &Device) -> Result<(), Error> {
        Ok(())
    }

    fn prepare<'a>(&'a self, _host: &'a Host, device: &'a Device) -> BoxFuture<'a, Result<Plan, Error>> {
        Box::pin(async move {
            let parent = device.value("parent").unwrap_or_default();
            let is_name = !parent.is_empty() && !parent.contains('/');
            if !is_name || !Path::new("/sys/class/net").join(parent).exists() {
                return Err(Error::DeviceValue(format!(
                    "Parent device '{parent}' doesn't exist"
                )));
            }
            if !Path::new("/sys/class/net")
                .join(parent)
                .join("device/infiniband")
                .exists()
            {
                let text = match device.value("nictype") {
                    Some("sriov") => "All virtual functions on parent device are already in use".to_owned(),
                    _ => format!("Specified infiniband device {parent:?} not found"),
                };
                return Err(Error::DeviceValue(text));
            }
            Err(Error::DeviceValue(format!(
                "Infiniband card '{parent}' can't be given to instances by this server yet"
            )))
        })
    }

    fn present<'a>(&'a self, _host: &'a Host, device: &'a Device) -> BoxFuture<'a, Result<Plan, Error>> {
        Box::pin(async { Ok(Plan::new(&device.name)) })
    }

    fn stopped<'a>(&'a self, _host: &'a Host, _device: &'a Device) -> BoxFuture<'a, Vec<Error>> {
        Box::pin(async { Vec::new() })
    }
}
