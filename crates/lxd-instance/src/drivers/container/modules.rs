//! Kernel modules that a container wants the host to have.

use std::path::Path;
use std::time::Duration;

use lxd_model::Invalid;
use lxd_sys::command::Command;

use crate::error::Error;
use crate::instance::Instance;

const LIMIT: Duration = Duration::from_secs(60);

/// Loads the modules of `linux.kernel_modules` that the kernel does not have yet.
///
/// # Errors
/// The first one that can't be loaded.
pub(super) async fn load(instance: &Instance) -> Result<(), Error> {
    let wanted = instance.config("linux.kernel_modules").unwrap_or_default();
    for name in wanted.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        load_module(name).await?;
    }
    Ok(())
}

/// Loads a module that the kernel may not have yet.
///
/// # Errors
/// It can't be loaded.
pub(crate) async fn load_module(name: &str) -> Result<(), Error> {
    if is_there(name) {
        return Ok(());
    }
    // A name that begins with a dash would be an option.
    let command = Command::new("modprobe")
        .arg("-b")
        .arg("--")
        .arg(name)
        .timeout(LIMIT);
    command.output().await.map_err(|error| {
        let text = format!("Failed to load kernel module \"{name}\": {error}");
        Invalid::of_kind(lxd_model::ErrorKind::Internal, text)
    })?;
    Ok(())
}

/// Whether the kernel has a module, loaded or built in with parameters or a version.
fn is_there(name: &str) -> bool {
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    plain && Path::new("/sys/module").join(name.replace('-', "_")).exists()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::tests::plain;

    #[tokio::test]
    async fn what_is_there_is_not_loaded_and_what_can_t_be_is_told() {
        let mut instance = plain("/x".as_ref(), "c");
        let mut wish = |text: &str| {
            instance
                .config
                .insert("linux.kernel_modules".into(), text.to_owned());
            instance.clone()
        };
        assert!(is_there("kernel") && !is_there("../kernel"));
        load(&wish("kernel, kernel")).await.unwrap();
        let error = load(&wish("kernel,no_such_module_x"))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("Failed to load kernel module \"no_such_module_x\": "),
            "{error}"
        );
    }
}
