//! What dnsmasq is told about a bridge network: its command line, in the reference's order.

use std::path::Path;

use super::plan::{Plan, Side};
use crate::dnsmasq::Service;

/// The user and the group that dnsmasq works as.
const USER: &str = "nobody";

/// What is to be run for a network, in `directory`; nothing when it has no address.
pub(super) fn service(plan: &Plan, directory: &Path, group: Option<&str>, debug: bool) -> Option<Service> {
    if plan.ipv4.is_none() && plan.ipv6.is_none() {
        return None;
    }
    let file = |name: &str| directory.join(name).display().to_string();
    let mut args: Vec<String> = ["--strict-order", "--bind-interfaces", "--except-interface=lo"]
        .map(Into::into)
        .into();
    args.push(format!(
        "--pid-file={}",
        Service::started_file(directory).display()
    ));
    args.extend([
        "--no-ping".into(),
        format!("--interface={}", plan.name),
        "--dhcp-rapid-commit".into(),
    ]);
    if !debug {
        args.extend(["--quiet-dhcp", "--quiet-dhcp6", "--quiet-ra"].map(Into::into));
    }
    let leasing = [
        "--dhcp-no-override".into(),
        "--dhcp-authoritative".into(),
        format!("--dhcp-leasefile={}", file("dnsmasq.leases")),
        format!("--dhcp-hostsfile={}", file("dnsmasq.hosts")),
    ];
    let dhcp4 = plan.ipv4.as_ref().is_some_and(|side| side.dhcp);
    if let Some(side) = &plan.ipv4 {
        args.push(format!("--listen-address={}", side.subnet.address));
        if dhcp4 {
            args.extend_from_slice(&leasing);
            args.extend(ipv4_options(plan));
            args.extend(ipv4_ranges(side));
        }
    }
    if let Some(side) = &plan.ipv6 {
        args.push(format!("--listen-address={}", side.subnet.address));
        args.push("--enable-ra".into());
        if side.dhcp && !dhcp4 {
            args.extend_from_slice(&leasing);
        }
        args.extend(ipv6_ranges(plan, side));
    }
    if let Some(domain) = &plan.dns {
        args.extend(["-s".into(), domain.clone()]);
        args.extend([
            "--interface-name".into(),
            format!("_gateway.{domain},{}", plan.name),
        ]);
        args.extend(["-S".into(), format!("/{domain}/")]);
    }
    args.push(format!("--conf-file={}", file("dnsmasq.raw")));
    args.extend(["-u".into(), USER.into()]);
    args.extend(group.into_iter().flat_map(|group| ["-g".into(), group.into()]));
    Some(Service {
        network: plan.name.clone(),
        directory: directory.to_owned(),
        args,
        raw: format!("{}\n", plan.raw),
    })
}

fn ipv4_options(plan: &Plan) -> impl Iterator<Item = String> {
    let option = |number: u8, value: &str| format!("--dhcp-option-force={number},{value}");
    let gateway = (!plan.dhcp_gateway.is_empty()).then(|| option(3, &plan.dhcp_gateway));
    let mtu = plan.has_own_mtu().then(|| option(26, &plan.mtu.to_string()));
    let search = (!plan.search.is_empty()).then(|| option(119, &plan.search));
    [gateway, mtu, search].into_iter().flatten()
}

fn ipv4_ranges(side: &Side) -> Vec<String> {
    let range = |start, end| ["--dhcp-range".into(), format!("{start},{end},{}", side.expiry)];
    if side.ranges.is_empty() {
        return range(side.subnet.nth(2), side.subnet.nth(-2)).into();
    }
    side.ranges.iter().flat_map(|r| range(r.start, r.end)).collect()
}

fn ipv6_ranges(plan: &Plan, side: &Side) -> Vec<String> {
    let advertise = |mode| {
        vec![
            "--dhcp-range".into(),
            format!("::,constructor:{},{mode}", plan.name),
        ]
    };
    if !side.dhcp {
        return advertise("ra-only");
    }
    if !plan.stateful {
        return advertise("ra-stateless,ra-names");
    }
    let range = |start, end| {
        [
            "--dhcp-range".into(),
            format!("{start},{end},{},{}", side.subnet.prefix, side.expiry),
        ]
    };
    if side.ranges.is_empty() {
        return range(side.subnet.nth(2), side.subnet.nth(-1)).into();
    }
    side.ranges.iter().flat_map(|r| range(r.start, r.end)).collect()
}
