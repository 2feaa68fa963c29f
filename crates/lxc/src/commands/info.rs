//! `lxc info`: an instance, or the server.

use lxd_api::Time;
use lxd_api::instance_snapshots::InstanceSnapshot;
use lxd_api::instance_state::{InstanceState, InstanceStateNetwork};
use lxd_api::instances::InstanceFull;
use lxd_api::server::{Server, ServerStorageDriverInfo};
use lxd_client::{Client, path};
use lxd_model::yaml;
use serde::Serialize;

use crate::context::Context;
use crate::error::Result;
use crate::render::{bytes_binary, bytes_decimal, date, print, table_text};

/// `lxc info`.
pub(crate) async fn info(cx: &Context) -> Result<()> {
    let resource = cx.resource_or_default(0)?;
    let client = super::config::targeted(cx, &resource).await?;
    if resource.name.is_empty() {
        if cx.switch("resources") {
            return super::resources::show(&client).await;
        }
        return print(&server_text(client.get(&path(&[])).await?)?);
    }
    let instance = client.instance_full(&resource.name).await?;
    let mut text = instance_text(&instance);
    if cx.switch("show-log") {
        text.push_str(&format!("\nLog:\n\n{}\n", log(&client, &instance).await?));
    }
    print(&text)
}

/// The server as YAML. Storage drivers have other names in YAML than in JSON, where they are Go's.
fn server_text(mut server: Server) -> Result<String> {
    #[derive(Serialize)]
    struct Driver<'a> {
        name: &'a str,
        version: &'a str,
        remote: bool,
    }
    let drivers = std::mem::take(&mut server.environment.storage_supported_drivers);
    let text = yaml::to_string(&server)?;
    if drivers.is_empty() {
        return Ok(text);
    }
    let drivers: Vec<Driver<'_>> = drivers
        .iter()
        .map(
            |ServerStorageDriverInfo {
                 name,
                 version,
                 remote,
             }| Driver {
                name,
                version,
                remote: *remote,
            },
        )
        .collect();
    let lines: String = yaml::to_string(&drivers)?
        .lines()
        .map(|line| format!("  {line}\n"))
        .collect();
    Ok(text.replacen(
        "storage_supported_drivers: []\n",
        &format!("storage_supported_drivers:\n{lines}"),
        1,
    ))
}

fn instance_text(instance: &InstanceFull) -> String {
    let kind = if instance.ephemeral {
        format!("{} (ephemeral)", instance.r#type)
    } else {
        instance.r#type.clone()
    };
    let mut text = format!(
        "Name: {}\nStatus: {}\nType: {kind}\n",
        instance.name,
        instance.status.to_uppercase()
    );
    text.push_str(&format!("Architecture: {}\n", instance.architecture));
    if !matches!(instance.location.as_str(), "" | "none") {
        text.push_str(&format!("Location: {}\n", instance.location));
    }
    let state = instance.state.as_ref().filter(|state| state.pid != 0);
    if let Some(state) = state {
        text.push_str(&format!("PID: {}\n", state.pid));
    }
    for (title, time) in [
        ("Created", &instance.created_at),
        ("Last Used", &instance.last_used_at),
    ] {
        if is_set(time) {
            text.push_str(&format!("{title}: {}\n", date(time)));
        }
    }
    if let Some(state) = state {
        text.push_str(&format!("\nResources:\n{}", resources_text(state)));
    }
    text + &snapshots_text(instance) + &backups_text(instance)
}

fn resources_text(state: &InstanceState) -> String {
    let mut text = format!("  Processes: {}\n", state.processes);
    let used = state.disk.iter().filter(|(_, disk)| disk.usage != 0);
    let disks: String = used
        .map(|(name, disk)| format!("    {name}: {}\n", bytes_binary(disk.usage, 2)))
        .collect();
    if !disks.is_empty() {
        text.push_str(&format!("  Disk usage:\n{disks}"));
    }
    if state.cpu.usage != 0 {
        let seconds = state.cpu.usage / 1_000_000_000;
        text.push_str(&format!("  CPU usage:\n    CPU usage (in seconds): {seconds}\n"));
    }
    let memory = [
        ("Memory (current)", state.memory.usage),
        ("Memory (peak)", state.memory.usage_peak),
        ("Swap (current)", state.memory.swap_usage),
        ("Swap (peak)", state.memory.swap_usage_peak),
    ];
    let used = memory.iter().filter(|(_, bytes)| *bytes != 0);
    let lines: String = used
        .map(|(title, bytes)| format!("    {title}: {}\n", bytes_binary(*bytes, 2)))
        .collect();
    if !lines.is_empty() {
        text.push_str(&format!("  Memory usage:\n{lines}"));
    }
    let cards: String = state
        .network
        .iter()
        .map(|(name, card)| card_text(name, card))
        .collect();
    if !cards.is_empty() {
        text.push_str(&format!("  Network usage:\n{cards}"));
    }
    text
}

fn card_text(name: &str, card: &InstanceStateNetwork) -> String {
    let mut text = format!(
        "    {name}:\n      Type: {}\n      State: {}\n",
        card.r#type,
        card.state.to_uppercase()
    );
    for (title, value) in [("Host interface", &card.host_name), ("MAC address", &card.hwaddr)] {
        if !value.is_empty() {
            text.push_str(&format!("      {title}: {value}\n"));
        }
    }
    if card.mtu > 0 {
        text.push_str(&format!("      MTU: {}\n", card.mtu));
    }
    let counters = &card.counters;
    text.push_str(&format!(
        "      Bytes received: {}\n",
        bytes_decimal(counters.bytes_received, 2)
    ));
    text.push_str(&format!(
        "      Bytes sent: {}\n",
        bytes_decimal(counters.bytes_sent, 2)
    ));
    text.push_str(&format!(
        "      Packets received: {}\n",
        counters.packets_received
    ));
    text.push_str(&format!("      Packets sent: {}\n", counters.packets_sent));
    text.push_str("      IP addresses:\n");
    for address in &card.addresses {
        let family = format!("{}:", address.family);
        text.push_str(&format!(
            "        {family:<6} {}/{} ({})\n",
            address.address, address.netmask, address.scope
        ));
    }
    text
}

fn snapshots_text(instance: &InstanceFull) -> String {
    let snapshots = instance.snapshots.as_deref().unwrap_or_default();
    if snapshots.is_empty() {
        return String::new();
    }
    let row = |snapshot: &InstanceSnapshot| {
        let name = snapshot.name.rsplit('/').next().unwrap_or_default().to_string();
        let stateful = if snapshot.stateful { "YES" } else { "NO" };
        vec![
            name,
            date_or_none(&snapshot.created_at),
            date_or_none(&snapshot.expires_at),
            stateful.into(),
        ]
    };
    let rows: Vec<Vec<String>> = snapshots.iter().map(row).collect();
    format!(
        "\nSnapshots:\n{}",
        table_text(&["Name", "Taken at", "Expires at", "Stateful"], &rows)
    )
}

fn backups_text(instance: &InstanceFull) -> String {
    let backups = instance.backups.as_deref().unwrap_or_default();
    if backups.is_empty() {
        return String::new();
    }
    let yes = |on: bool| if on { "YES" } else { "NO" }.to_string();
    let rows: Vec<Vec<String>> = backups
        .iter()
        .map(|backup| {
            let name = backup.name.rsplit('/').next().unwrap_or_default().to_string();
            let (taken, expires) = (date_or_none(&backup.created_at), date_or_none(&backup.expires_at));
            vec![
                name,
                taken,
                expires,
                yes(backup.instance_only),
                yes(backup.optimized_storage),
            ]
        })
        .collect();
    let header = [
        "Name",
        "Taken at",
        "Expires at",
        "Instance Only",
        "Optimized Storage",
    ];
    format!("\nBackups:\n{}", table_text(&header, &rows))
}

/// The log of an instance: of its container, or of QEMU.
async fn log(client: &Client, instance: &InstanceFull) -> Result<String> {
    let file = if instance.r#type == "virtual-machine" {
        "qemu.log"
    } else {
        "lxc.log"
    };
    let log = client
        .download(&path(&["instances", &instance.name, "logs", file]))
        .await?
        .bytes()
        .await?;
    Ok(String::from_utf8_lossy(&log).into_owned())
}

fn is_set(time: &Time) -> bool {
    time.timestamp().as_second() > 0
}

fn date_or_none(time: &Time) -> String {
    if is_set(time) { date(time) } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_are_called_otherwise_in_yaml() {
        let mut server = Server::default();
        let driver = ServerStorageDriverInfo {
            name: "dir".into(),
            version: "1".into(),
            remote: false,
        };
        server.environment.storage_supported_drivers.push(driver);
        let text = server_text(server).unwrap();
        assert!(
            text.ends_with(
                "  storage_supported_drivers:\n  - name: dir\n    version: \"1\"\n    remote: false\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_stopped_instance_is_short() {
        let instance = InstanceFull {
            name: "c1".into(),
            status: "Stopped".into(),
            r#type: "container".into(),
            architecture: "x86_64".into(),
            ephemeral: true,
            ..InstanceFull::default()
        };
        assert_eq!(
            instance_text(&instance),
            "Name: c1\nStatus: STOPPED\nType: container (ephemeral)\nArchitecture: x86_64\n"
        );
    }
}
