//! `none`: hides a device of a profile, and is nothing itself.

use futures::future::BoxFuture;

use super::{Device, Host, Kind, Plan};
use crate::error::Error;

/// The kind.
pub struct None;

impl Kind for None {
    fn check(&self, _device: &Device) -> Result<(), Error> {
        Ok(())
    }

    fn prepare<'a>(&'a self, _host: &'a Host, device: &'a Device) -> BoxFuture<'a, Result<Plan, Error>> {
        Box::pin(async { Ok(Plan::new(&device.name)) })
    }

    fn present<'a>(&'a self, host: &'a Host, device: &'a Device) -> BoxFuture<'a, Result<Plan, Error>> {
        self.prepare(host, device)
    }

    fn stopped<'a>(&'a self, _host: &'a Host, _device: &'a Device) -> BoxFuture<'a, Vec<Error>> {
        Box::pin(async { Vec::new() })
    }
}
