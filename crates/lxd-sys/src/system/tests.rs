//! Facts read from texts, and from the machine the tests run on.

use super::*;

#[test]
fn os_release_is_read_as_a_shell_would() {
    let facts = parse_os_release("NAME=\"Debian GNU/Linux\"\nVERSION_ID='12'\n# c\nID=debian\n");
    assert_eq!(
        (
            facts["NAME"].as_str(),
            facts["VERSION_ID"].as_str(),
            facts["ID"].as_str()
        ),
        ("Debian GNU/Linux", "12", "debian")
    );
}

#[test]
fn memory_is_in_bytes() {
    assert_eq!(
        parse_memory_total("MemTotal:        1000 kB\nMemFree: 5 kB\n"),
        Some(1_024_000)
    );
    assert_eq!(parse_memory_total("MemFree: 5 kB\n"), None);
    assert!(memory_total().unwrap() > 1 << 20);
}

#[test]
fn versions_compare() {
    assert_eq!(version_of("6.1.0-13-amd64"), (6, 1));
    assert_eq!(version_of("5.15-rc1"), (5, 15));
    assert_eq!(version_of("x"), (0, 0));
}

#[test]
fn this_machine_is_described() {
    let kernel = kernel();
    assert_eq!(kernel.name, "Linux");
    assert_eq!(
        architectures(&kernel.architecture).first(),
        Some(&kernel.architecture.as_str())
    );
    assert!(cpu_count() >= 1 && page_size().is_power_of_two());
    let features = KernelFeatures::probe(&std::env::temp_dir());
    assert!(features.unpriv_fscaps && features.seccomp_listener);
}

#[test]
fn settings_are_read_and_set_in_the_thread_s_namespace() {
    crate::netlink::in_new_namespace(|| {
        set_sysctl("net/ipv4/ip_forward", "1").unwrap();
        assert_eq!(sysctl("net/ipv4/ip_forward").unwrap(), "1");
        let error = set_sysctl("net/ipv4/nope", "1").unwrap_err();
        assert_eq!(error.to_string(), "Failed to set net/ipv4/nope to \"1\"");
    })
    .unwrap();
}
