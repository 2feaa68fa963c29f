//! Managed networks, their addresses, DHCP, DNS and firewall; drivers.
