//! NVIDIA's driver and libraries of the host, put into containers by NVIDIA's own tools.

use std::path::Path;

use lxd_model::Invalid;

use crate::instance::Instance;

/// liblxc's hook that runs the tools.
const HOOK: &str = "/usr/share/lxc/hooks/nvidia";
const TOOL: &str = "nvidia-container-cli";

/// Whether an instance wants them.
pub(super) fn is_wanted(instance: &Instance) -> bool {
    instance.is_set("nvidia.runtime")
}

/// Refuses an instance that wants what the host lacks.
pub(super) fn check(instance: &Instance) -> Result<(), Invalid> {
    if !is_wanted(instance) {
        return Ok(());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has_tool = std::env::split_paths(&path).any(|folder| folder.join(TOOL).is_file());
    let missing = match (has_tool, Path::new(HOOK).exists()) {
        (false, _) => "The NVIDIA container tools couldn't be found",
        (_, false) => "The NVIDIA LXC hook couldn't be found",
        _ => return Ok(()),
    };
    Err(Invalid::new(missing))
}

/// Keys and values of liblxc's configuration.
pub(super) fn lines(instance: &Instance) -> Vec<(&'static str, String)> {
    if !is_wanted(instance) {
        return Vec::new();
    }
    let value = |key: &str| instance.config(key).map(str::to_owned);
    let mut lines = vec![("lxc.environment", "NVIDIA_VISIBLE_DEVICES=none".to_owned())];
    let variables = [
        (
            "NVIDIA_DRIVER_CAPABILITIES",
            Some(value("nvidia.driver.capabilities").unwrap_or_else(|| "compute,utility".to_owned())),
        ),
        ("NVIDIA_REQUIRE_CUDA", value("nvidia.require.cuda")),
        ("NVIDIA_REQUIRE_DRIVER", value("nvidia.require.driver")),
    ];
    let set = variables
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    lines.extend(set.map(|(name, value)| ("lxc.environment", format!("{name}={value}"))));
    lines.push(("lxc.hook.mount", HOOK.to_owned()));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::tests::plain;

    #[test]
    fn what_the_tools_are_told() {
        let mut instance = plain("/x".as_ref(), "c");
        assert!(check(&instance).is_ok() && lines(&instance).is_empty());
        for (key, value) in [("nvidia.runtime", "true"), ("nvidia.require.cuda", "cuda>=9.0")] {
            instance.config.insert(key.into(), value.into());
        }
        let text: Vec<String> = lines(&instance)
            .into_iter()
            .map(|(key, value)| format!("{key} = {value}"))
            .collect();
        let wanted = [
            "lxc.environment = NVIDIA_VISIBLE_DEVICES=none",
            "lxc.environment = NVIDIA_DRIVER_CAPABILITIES=compute,utility",
            "lxc.environment = NVIDIA_REQUIRE_CUDA=cuda>=9.0",
            "lxc.hook.mount = /usr/share/lxc/hooks/nvidia",
        ];
        assert_eq!(text, wanted);
    }
}
