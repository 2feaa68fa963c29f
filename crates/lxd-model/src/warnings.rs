//! Warnings: their types, with the numbers and texts that the API and the database know.

/// What a warning is about. The number is that of the `warnings` table; there is a type 0, "Undefined warning", too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum WarningType {
    /// Couldn't find the CGroup blkio.
    MissingCgroupBlkio = 1,
    /// Couldn't find the CGroup blkio.weight.
    MissingCgroupBlkioWeight = 2,
    /// Couldn't find the CGroup CPU controller.
    MissingCgroupCpu = 3,
    /// Couldn't find the CGroup CPUset controller.
    MissingCgroupCpuset = 4,
    /// Couldn't find the CGroup CPUacct controller.
    MissingCgroupCpuacct = 5,
    /// Couldn't find the CGroup devices controller.
    MissingCgroupDevices = 6,
    /// Couldn't find the CGroup freezer controller.
    MissingCgroupFreezer = 7,
    /// Couldn't find the CGroup hugetlb controller.
    MissingCgroupHugetlb = 8,
    /// Couldn't find the CGroup memory controller.
    MissingCgroupMemory = 9,
    /// Couldn't find the CGroup network priority controller.
    MissingCgroupNetworkPriority = 10,
    /// Couldn't find the CGroup pids controller.
    MissingCgroupPids = 11,
    /// Couldn't find the CGroup memory swap accounting.
    MissingCgroupMemorySwap = 12,
    /// Time skew detected between leader and local.
    ClusterTimeSkew = 13,
    /// AppArmor support has been disabled.
    AppArmorNotAvailable = 14,
    /// Missing virtiofsd.
    MissingVirtiofsd = 15,
    /// Unable to connect to MAAS.
    UnableToConnectToMaas = 16,
    /// Skipping AppArmor for dnsmasq due to raw.dnsmasq being set.
    AppArmorDisabledDueToRawDnsmasq = 17,
    /// IPv6 networks with a prefix larger than 64 aren't properly supported by dnsmasq.
    LargerIpv6PrefixThanSupported = 18,
    /// Proxy bridge netfilter not enabled.
    ProxyBridgeNetfilterNotEnabled = 19,
    /// Network unavailable.
    NetworkUnavailable = 20,
    /// Offline cluster member.
    OfflineClusterMember = 21,
    /// Failed to autostart instance.
    InstanceAutostartFailure = 22,
    /// Instance type not operational.
    InstanceTypeNotOperational = 23,
    /// Storage pool unavailable.
    StoragePoolUnavailable = 24,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Something is missing or worse than it could be.
    Low,
    /// Something should be looked after.
    Moderate,
    /// Something does not work.
    High,
}

/// What has become of a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Nobody has seen it.
    New,
    /// Somebody has seen it.
    Acknowledged,
    /// Its cause is gone.
    Resolved,
}

const ROWS: &[(WarningType, &str, Severity)] = &[
    (
        WarningType::MissingCgroupBlkio,
        "Couldn't find the CGroup blkio",
        Severity::Low,
    ),
    (
        WarningType::MissingCgroupBlkioWeight,
        "Couldn't find the CGroup blkio.weight",
        Severity::Low,
    ),
    (
        WarningType::MissingCgroupCpu,
        "Couldn't find the CGroup CPU controller",
        Severity::Low,
    ),
    (
        WarningType::MissingCgroupCpuset,
        "Couldn't find the CGroup CPUset controller",
        Severity::Low,
    ),
    (
        WarningType::MissingCgroupCpuacct,
        "Couldn't find the CGroup CPUacct controller",
        Severity::Low,
    ),
    (
        WarningType::MissingCgroupDevices,
        "Couldn't find the CGroup devices controller",
        Severity::Low,
    ),
    (
        WarningType::MissingCgroupFreezer,
        "Couldn't find the CGroup freezer controller",
        Severity::Low,
    ),
    (
        WarningType::MissingCgroupHugetlb,
        "Couldn't find the CGroup hugetlb controller",
        Severity::Low,
    ),
    (
        WarningType::MissingCgroupMemory,
        "Couldn't find the CGroup memory controller",
        Severity::Low,
    ),
    (
        WarningType::MissingCgroupNetworkPriority,
        "Couldn't find the CGroup network priority controller",
        Severity::Low,
    ),
    (
        WarningType::MissingCgroupPids,
        "Couldn't find the CGroup pids controller",
        Severity::Low,
    ),
    (
        WarningType::MissingCgroupMemorySwap,
        "Couldn't find the CGroup memory swap accounting",
        Severity::Low,
    ),
    (
        WarningType::ClusterTimeSkew,
        "Time skew detected between leader and local",
        Severity::Low,
    ),
    (
        WarningType::AppArmorNotAvailable,
        "AppArmor support has been disabled",
        Severity::Low,
    ),
    (WarningType::MissingVirtiofsd, "Missing virtiofsd", Severity::Low),
    (
        WarningType::UnableToConnectToMaas,
        "Unable to connect to MAAS",
        Severity::Low,
    ),
    (
        WarningType::AppArmorDisabledDueToRawDnsmasq,
        "Skipping AppArmor for dnsmasq due to raw.dnsmasq being set",
        Severity::Low,
    ),
    (
        WarningType::LargerIpv6PrefixThanSupported,
        "IPv6 networks with a prefix larger than 64 aren't properly supported by dnsmasq",
        Severity::Low,
    ),
    (
        WarningType::ProxyBridgeNetfilterNotEnabled,
        "Proxy bridge netfilter not enabled",
        Severity::Low,
    ),
    (
        WarningType::NetworkUnavailable,
        "Network unavailable",
        Severity::High,
    ),
    (
        WarningType::OfflineClusterMember,
        "Offline cluster member",
        Severity::Low,
    ),
    (
        WarningType::InstanceAutostartFailure,
        "Failed to autostart instance",
        Severity::Low,
    ),
    (
        WarningType::InstanceTypeNotOperational,
        "Instance type not operational",
        Severity::Low,
    ),
    (
        WarningType::StoragePoolUnavailable,
        "Storage pool unavailable",
        Severity::High,
    ),
];

impl WarningType {
    /// All types in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.0)
    }

    /// The number in the database.
    pub fn id(self) -> i64 {
        i64::from(self as u8)
    }

    /// The type with a number.
    pub fn from_id(id: i64) -> Option<Self> {
        let place = usize::try_from(id).ok()?.checked_sub(1)?;
        ROWS.get(place).map(|row| row.0)
    }

    /// The text that clients see.
    pub fn as_str(self) -> &'static str {
        ROWS[self as usize - 1].1
    }

    /// How bad it is.
    pub fn severity(self) -> Severity {
        ROWS[self as usize - 1].2
    }
}

impl Severity {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Moderate => "moderate",
            Self::High => "high",
        }
    }
}

impl Status {
    /// The number in the database.
    pub fn id(self) -> i64 {
        match self {
            Self::New => 1,
            Self::Acknowledged => 2,
            Self::Resolved => 3,
        }
    }

    /// The status with a number.
    pub fn from_id(id: i64) -> Option<Self> {
        [Self::New, Self::Acknowledged, Self::Resolved]
            .into_iter()
            .find(|status| status.id() == id)
    }

    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }

    /// The status with a word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::New, Self::Acknowledged, Self::Resolved]
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_at_their_numbers() {
        for (place, kind) in WarningType::all().enumerate() {
            assert_eq!(kind.id(), i64::try_from(place).unwrap() + 1);
            assert_eq!(WarningType::from_id(kind.id()), Some(kind));
        }
        assert_eq!(WarningType::from_id(0), None);
        assert_eq!(WarningType::NetworkUnavailable.severity().as_str(), "high");
        assert_eq!(
            Status::parse("new").and_then(|s| Status::from_id(s.id())),
            Some(Status::New)
        );
    }
}
