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
        frequency: u64,
        threads: Vec<ResourcesCPUThread>,
    }
}

wire! {
    /// Host resources: CPU socket.
    pub struct ResourcesCPUSocket {
        cache: Vec<ResourcesCPUCache>,
        cores: Vec<ResourcesCPUCore>,
        frequency: u64,
        frequency_minimum: u64,
        frequency_turbo: u64,
        name: String,
        socket: u64,
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
        driver: String,
        driver_version: String,
        drm: Option<ResourcesGPUCardDRM>,
        mdev: Option<BTreeMap<String, ResourcesGPUCardMdev>>,
        numa_node: u64,
        nvidia: Option<ResourcesGPUCardNvidia>,
        pci_address: String,
        product: String,
        product_id: String,
        sriov: Option<ResourcesGPUCardSRIOV>,
        usb_address: String,
        vendor: String,
        vendor_id: String,
    }
}

wire! {
    /// Host resources: GPU card drm.
    pub struct ResourcesGPUCardDRM {
        card_device: String,
        card_name: String,
        control_device: String,
        control_name: String,
        id: u64,
        render_device: String,
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
        architecture: String,
        brand: String,
        card_device: String,
        card_name: String,
        cuda_version: String,
        model: String,
        nvrm_version: String,
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
        driver: String,
        driver_version: String,
        firmware_version: String,
        numa_node: u64,
        pci_address: String,
        ports: Vec<ResourcesNetworkCardPort>,
        product: String,
        product_id: String,
        sriov: Option<ResourcesNetworkCardSRIOV>,
        usb_address: String,
        vendor: String,
        vendor_id: String,
    }
}

wire! {
    /// Host resources: network card port.
    pub struct ResourcesNetworkCardPort {
        address: String,
        auto_negotiation: bool,
        id: String,
        infiniband: Option<ResourcesNetworkCardPortInfiniband>,
        link_detected: bool,
        link_duplex: String,
        link_speed: u64,
        port: u64,
        port_type: String,
        protocol: String,
        supported_modes: Vec<String>,
        supported_ports: Vec<String>,
        transceiver_type: String,
    }
}

wire! {
    /// Host resources: network card port infiniband.
    pub struct ResourcesNetworkCardPortInfiniband {
        issm_device: String,
        issm_name: String,
        mad_device: String,
        mad_name: String,
        verb_device: String,
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
        entries: BTreeMap<String, String>,
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
        device_path: String,
        firmware_version: String,
        id: String,
        model: String,
        numa_node: u64,
        partitions: Vec<ResourcesStorageDiskPartition>,
        pci_address: String,
        read_only: bool,
        removable: bool,
        rpm: u64,
        serial: String,
        size: u64,
        r#type: String,
        usb_address: String,
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
