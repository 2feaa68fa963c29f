//! `tpm`: an emulated security chip, by the program `swtpm` and the kernel's proxy.

use std::path::Path;

use futures::future::BoxFuture;
use lxd_sys::command::Command;

use super::{Device, Host, Kind, Plan};
use crate::error::Error;

/// The kind.
pub struct Tpm;

/// Where the kernel makes proxies of chips.
const PROXY: &str = "/dev/vtpmx";

impl Kind for Tpm {
    fn check(&self, _device: &Device) -> Result<(), Error> {
        Ok(())
    }

    fn prepare<'a>(&'a self, _host: &'a Host, _device: &'a Device) -> BoxFuture<'a, Result<Plan, Error>> {
        Box::pin(async {
            Err(Error::DeviceValue(format!(
                "Failed to validate environment: {}",
                missing()
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

/// What this host lacks.
fn missing() -> &'static str {
    if Command::new("swtpm").resolve().is_err() {
        "Required tool 'swtpm' is missing"
    } else if !Path::new(PROXY).exists() {
        "The kernel has no proxy for TPM devices (module tpm_vtpm_proxy)"
    } else {
        "TPM devices of containers are not supported by this server yet"
    }
}
