//! A machine's hardware, read from a tree of files such as the kernel's.

use std::os::unix::fs::symlink;
use std::path::Path;

use super::read;
use super::sysfs::Host;

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, format!("{text}\n")).unwrap();
}

fn machine() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| write(root.path(), path, text);
    for id in 0..4 {
        let cpu = format!("sys/devices/system/cpu/cpu{id}");
        put(&format!("{cpu}/topology/physical_package_id"), "0");
        put(&format!("{cpu}/topology/core_id"), &(id / 2).to_string());
        put(&format!("{cpu}/topology/die_id"), "0");
        put(&format!("{cpu}/cpufreq/scaling_cur_freq"), "2400000");
        put(&format!("{cpu}/cpufreq/cpuinfo_max_freq"), "3100000");
        put(&format!("{cpu}/cache/index0/level"), "1");
        put(&format!("{cpu}/cache/index0/size"), "32K");
        put(&format!("{cpu}/cache/index0/type"), "Data");
    }
    put("sys/devices/system/cpu/isolated", "2-3");
    put(
        "proc/cpuinfo",
        "vendor_id : GenuineX\nmodel name\t: X 1\nphysical id : 0\nflags : fpu hypervisor",
    );
    put(
        "proc/meminfo",
        "MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 50 kB\nCached: 250 kB",
    );
    let slot = "sys/devices/pci0000:00/0000:00:03.0";
    put(&format!("{slot}/vendor"), "0x1af4");
    put(&format!("{slot}/device"), "0x1041");
    put(&format!("{slot}/class"), "0x020000");
    put(&format!("{slot}/numa_node"), "-1");
    put(&format!("{slot}/net/eth0/address"), "00:16:3e:00:00:01");
    put(&format!("{slot}/net/eth0/carrier"), "1");
    put(&format!("{slot}/net/eth0/speed"), "1000");
    put(&format!("{slot}/net/eth0/duplex"), "full");
    put(
        "usr/share/misc/pci.ids",
        "1af4  Red Hat, Inc.\n\t1041  Virtio network device",
    );
    put("sys/devices/pci0000:00/0000:00:04.0/block/sda/dev", "8:0");
    put("sys/devices/pci0000:00/0000:00:04.0/block/sda/size", "2048");
    put(
        "sys/devices/pci0000:00/0000:00:04.0/block/sda/sda1/partition",
        "1",
    );
    put("sys/devices/pci0000:00/0000:00:04.0/block/sda/sda1/size", "1024");
    put("sys/class/block/loop0/dev", "7:0");
    let at = |path: &str| root.path().join(path);
    for folder in ["sys/class/net", "sys/bus/pci/devices"] {
        std::fs::create_dir_all(at(folder)).unwrap();
    }
    symlink(at(slot), at(&format!("{slot}/net/eth0/device"))).unwrap();
    symlink(at(&format!("{slot}/net/eth0")), at("sys/class/net/eth0")).unwrap();
    symlink(at(slot), at("sys/bus/pci/devices/0000:00:03.0")).unwrap();
    let disk = "sys/devices/pci0000:00/0000:00:04.0";
    symlink(at(disk), at(&format!("{disk}/block/sda/device"))).unwrap();
    symlink(at(&format!("{disk}/block/sda")), at("sys/class/block/sda")).unwrap();
    root
}

#[test]
fn a_machine_is_read() {
    let root = machine();
    let found = read(&Host::at(root.path(), "6.1".to_owned()));
    let [socket] = found.cpu.sockets.as_slice() else {
        panic!("{:?}", found.cpu)
    };
    assert_eq!(
        (found.cpu.total, socket.cores.len(), socket.frequency),
        (4, 2, 2400)
    );
    assert_eq!(
        (socket.name.as_str(), socket.vendor.as_str()),
        ("X 1", "GenuineX")
    );
    assert_eq!(socket.cache[0].size, 32 * 1024);
    let threads = &socket.cores[1].threads;
    assert!(threads.iter().all(|thread| thread.isolated && thread.online));
    assert_eq!((threads[1].id, threads[1].thread), (3, 1));
    assert_eq!((found.memory.total, found.memory.used), (1000 * 1024, 600 * 1024));
    let [card] = found.network.cards.as_slice() else {
        panic!("{:?}", found.network)
    };
    assert_eq!(
        (card.pci_address.as_str(), card.vendor.as_str()),
        ("0000:00:03.0", "Red Hat, Inc.")
    );
    assert_eq!(
        (card.ports[0].link_speed, card.ports[0].link_duplex.as_str()),
        (1000, "full")
    );
    assert_eq!(found.pci.devices[0].product, "Virtio network device");
    let [disk] = found.storage.disks.as_slice() else {
        panic!("{:?}", found.storage)
    };
    assert_eq!(
        (disk.id.as_str(), disk.size, found.storage.total),
        ("sda", 1 << 20, 2)
    );
    assert_eq!(disk.partitions[0].size, 1 << 19);
    assert_eq!(found.system.r#type, "virtual-machine");
    assert!(found.system.chassis.is_none());
}

#[test]
fn an_empty_tree_is_no_error() {
    let root = tempfile::tempdir().unwrap();
    let found = read(&Host::at(root.path(), String::new()));
    assert_eq!((found.cpu.total, found.memory.total, found.pci.total), (0, 0, 0));
    assert_eq!(found.system.r#type, "physical");
}
