//! Wire types: host resources.

use std::collections::BTreeMap;

use crate::wire::wire;

wire! {
    /// Host resources: all of them.
    pub struct Resources {
        cpu: ResourcesCPU,
        gpu: ResourcesGPU,
        memory: ResourcesMemory,
        network: ResourcesNetwork,
        pci: ResourcesPCI,
        storage: ResourcesStorage,
        system: ResourcesSystem,
        usb: ResourcesUSB,
    }
}

wire! {
    /// Host resources: CPU.
    pub struct ResourcesCPU {
        architecture: String,
        sockets: Vec<ResourcesCPUSocket>,
        total: u64,
    }
}

wire! {
    /// Host resources: CPU cache.
    pub struct ResourcesCPUCache {
        level: u64,
        size: u64,
        r#type: String,
    }
}

wire! {
    /// Host resources: CPU core.
    pub struct ResourcesCPUCore {
        core: u64,
        die: u64,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        frequency: u64,
        threads: Vec<ResourcesCPUThread>,
    }
}

wire! {
    /// Host resources: CPU socket.
    pub struct ResourcesCPUSocket {
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        cache: Vec<ResourcesCPUCache>,
        cores: Vec<ResourcesCPUCore>,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        frequency: u64,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        frequency_minimum: u64,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        frequency_turbo: u64,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        name: String,
        socket: u64,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        vendor: String,
    }
}

wire! {
    /// Host resources: CPU thread.
    pub struct ResourcesCPUThread {
        id: i64,
        isolated: bool,
        numa_node: u64,
        online: bool,
        thread: u64,
    }
}

wire! {
    /// Host resources: GPU.
    pub struct ResourcesGPU {
        cards: Vec<ResourcesGPUCard>,
        total: u64,
    }
}

wire! {
    /// Host resources: GPU card.
    pub struct ResourcesGPUCard {
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        driver: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        driver_version: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        drm: Option<ResourcesGPUCardDRM>,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        mdev: Option<BTreeMap<String, ResourcesGPUCardMdev>>,
        numa_node: u64,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        nvidia: Option<ResourcesGPUCardNvidia>,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        pci_address: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        product: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        product_id: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        sriov: Option<ResourcesGPUCardSRIOV>,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        usb_address: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        vendor: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        vendor_id: String,
    }
}

wire! {
    /// Host resources: GPU card drm.
    pub struct ResourcesGPUCardDRM {
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        card_device: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        card_name: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        control_device: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        control_name: String,
        id: u64,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        render_device: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        render_name: String,
    }
}

wire! {
    /// Host resources: GPU card mdev.
    pub struct ResourcesGPUCardMdev {
        api: String,
        available: u64,
        description: String,
        devices: Vec<String>,
        name: String,
    }
}

wire! {
    /// Host resources: GPU card nvidia.
    pub struct ResourcesGPUCardNvidia {
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        architecture: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        brand: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        card_device: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        card_name: String,
        cuda_version: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        model: String,
        nvrm_version: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        uuid: String,
    }
}

wire! {
    /// Host resources: GPU card sriov.
    pub struct ResourcesGPUCardSRIOV {
        current_vfs: u64,
        maximum_vfs: u64,
        vfs: Vec<ResourcesGPUCard>,
    }
}

wire! {
    /// Host resources: memory.
    pub struct ResourcesMemory {
        hugepages_size: u64,
        hugepages_total: u64,
        hugepages_used: u64,
        nodes: Vec<ResourcesMemoryNode>,
        total: u64,
        used: u64,
    }
}

wire! {
    /// Host resources: memory node.
    pub struct ResourcesMemoryNode {
        hugepages_total: u64,
        hugepages_used: u64,
        numa_node: u64,
        total: u64,
        used: u64,
    }
}

wire! {
    /// Host resources: network.
    pub struct ResourcesNetwork {
        cards: Vec<ResourcesNetworkCard>,
        total: u64,
    }
}

wire! {
    /// Host resources: network card.
    pub struct ResourcesNetworkCard {
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        driver: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        driver_version: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        firmware_version: String,
        numa_node: u64,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        pci_address: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        ports: Vec<ResourcesNetworkCardPort>,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        product: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        product_id: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        sriov: Option<ResourcesNetworkCardSRIOV>,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        usb_address: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        vendor: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        vendor_id: String,
    }
}

wire! {
    /// Host resources: network card port.
    pub struct ResourcesNetworkCardPort {
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        address: String,
        auto_negotiation: bool,
        id: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        infiniband: Option<ResourcesNetworkCardPortInfiniband>,
        link_detected: bool,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        link_duplex: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        link_speed: u64,
        port: u64,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        port_type: String,
        protocol: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        supported_modes: Vec<String>,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        supported_ports: Vec<String>,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        transceiver_type: String,
    }
}

wire! {
    /// Host resources: network card port infiniband.
    pub struct ResourcesNetworkCardPortInfiniband {
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        issm_device: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        issm_name: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        mad_device: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        mad_name: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        verb_device: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        verb_name: String,
    }
}

wire! {
    /// Host resources: network card sriov.
    pub struct ResourcesNetworkCardSRIOV {
        current_vfs: u64,
        maximum_vfs: u64,
        vfs: Vec<ResourcesNetworkCard>,
    }
}

wire! {
    /// Host resources: pci.
    pub struct ResourcesPCI {
        devices: Vec<ResourcesPCIDevice>,
        total: u64,
    }
}

wire! {
    /// Host resources: pci device.
    pub struct ResourcesPCIDevice {
        driver: String,
        driver_version: String,
        iommu_group: u64,
        numa_node: u64,
        pci_address: String,
        product: String,
        product_id: String,
        vendor: String,
        vendor_id: String,
        vpd: ResourcesPCIVPD,
    }
}

wire! {
    /// Host resources: pcivpd.
    pub struct ResourcesPCIVPD {
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        entries: BTreeMap<String, String>,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        product_name: String,
    }
}

wire! {
    /// Host resources: storage.
    pub struct ResourcesStorage {
        disks: Vec<ResourcesStorageDisk>,
        total: u64,
    }
}

wire! {
    /// Host resources: storage disk.
    pub struct ResourcesStorageDisk {
        block_size: u64,
        device: String,
        device_id: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        device_path: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        firmware_version: String,
        id: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        model: String,
        numa_node: u64,
        partitions: Vec<ResourcesStorageDiskPartition>,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        pci_address: String,
        read_only: bool,
        removable: bool,
        rpm: u64,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        serial: String,
        size: u64,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        r#type: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        usb_address: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        wwn: String,
    }
}

wire! {
    /// Host resources: storage disk partition.
    pub struct ResourcesStorageDiskPartition {
        device: String,
        id: String,
        partition: u64,
        read_only: bool,
        size: u64,
    }
}

wire! {
    /// Host resources: storage pool.
    pub struct ResourcesStoragePool {
        space: ResourcesStoragePoolSpace,
        inodes: ResourcesStoragePoolInodes,
    }
}

wire! {
    /// Host resources: storage pool inodes.
    pub struct ResourcesStoragePoolInodes {
        used: u64,
        total: u64,
    }
}

wire! {
    /// Host resources: storage pool space.
    pub struct ResourcesStoragePoolSpace {
        used: u64,
        total: u64,
    }
}

wire! {
    /// Host resources: system.
    pub struct ResourcesSystem {
        chassis: Option<ResourcesSystemChassis>,
        family: String,
        firmware: Option<ResourcesSystemFirmware>,
        motherboard: Option<ResourcesSystemMotherboard>,
        product: String,
        serial: String,
        sku: String,
        r#type: String,
        uuid: String,
        vendor: String,
        version: String,
    }
}

wire! {
    /// Host resources: system chassis.
    pub struct ResourcesSystemChassis {
        serial: String,
        r#type: String,
        vendor: String,
        version: String,
    }
}

wire! {
    /// Host resources: system firmware.
    pub struct ResourcesSystemFirmware {
        date: String,
        vendor: String,
        version: String,
    }
}

wire! {
    /// Host resources: system motherboard.
    pub struct ResourcesSystemMotherboard {
        product: String,
        serial: String,
        vendor: String,
        version: String,
    }
}

wire! {
    /// Host resources: usb.
    pub struct ResourcesUSB {
        devices: Vec<ResourcesUSBDevice>,
        total: u64,
    }
}

wire! {
    /// Host resources: usb device.
    pub struct ResourcesUSBDevice {
        bus_address: u64,
        device_address: u64,
        interfaces: Vec<ResourcesUSBDeviceInterface>,
        product: String,
        product_id: String,
        speed: f64,
        vendor: String,
        vendor_id: String,
    }
}

wire! {
    /// Host resources: usb device interface.
    pub struct ResourcesUSBDeviceInterface {
        class: String,
        class_id: u64,
        driver: String,
        driver_version: String,
        number: u64,
        subclass: String,
        subclass_id: u64,
    }
}
