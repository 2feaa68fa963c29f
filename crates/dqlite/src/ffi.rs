//! The calls into libdqlite 1.11 that a node needs, written by hand from `dqlite.h`.
#![allow(unsafe_code, reason = "declares a C library's functions")]

use std::ffi::{c_char, c_int, c_uint, c_ulonglong, c_void};

/// The C library's node; only ever behind a pointer.
#[repr(C)]
pub(crate) struct DqliteNode {
    private: [u8; 0],
}

/// `struct dqlite_node_info_ext`: one member of a configuration that recovery writes.
#[repr(C)]
pub(crate) struct NodeInfoExt {
    /// The size of this structure: 32.
    pub(crate) size: u64,
    pub(crate) id: u64,
    /// A pointer to a C string, as an integer.
    pub(crate) address: u64,
    pub(crate) role: u64,
}

/// Opens a socket to another member; returns 0, or `RAFT_NOCONNECTION`.
pub(crate) type ConnectFunc = extern "C" fn(*mut c_void, *const c_char, *mut c_int) -> c_int;

unsafe extern "C" {
    pub(crate) fn dqlite_version_number() -> c_int;
    pub(crate) fn dqlite_generate_node_id(address: *const c_char) -> c_ulonglong;
    pub(crate) fn dqlite_node_create(
        id: c_ulonglong,
        address: *const c_char,
        directory: *const c_char,
        node: *mut *mut DqliteNode,
    ) -> c_int;
    pub(crate) fn dqlite_node_destroy(node: *mut DqliteNode);
    pub(crate) fn dqlite_node_set_bind_address(node: *mut DqliteNode, address: *const c_char) -> c_int;
    pub(crate) fn dqlite_node_set_connect_func(
        node: *mut DqliteNode,
        connect: ConnectFunc,
        argument: *mut c_void,
    ) -> c_int;
    pub(crate) fn dqlite_node_set_network_latency_ms(node: *mut DqliteNode, milliseconds: c_uint) -> c_int;
    pub(crate) fn dqlite_node_set_failure_domain(node: *mut DqliteNode, domain: c_ulonglong) -> c_int;
    pub(crate) fn dqlite_node_set_snapshot_params(
        node: *mut DqliteNode,
        threshold: c_uint,
        trailing: c_uint,
    ) -> c_int;
    pub(crate) fn dqlite_node_start(node: *mut DqliteNode) -> c_int;
    pub(crate) fn dqlite_node_stop(node: *mut DqliteNode) -> c_int;
    pub(crate) fn dqlite_node_recover_ext(
        node: *mut DqliteNode,
        members: *mut NodeInfoExt,
        count: c_int,
    ) -> c_int;
    pub(crate) fn dqlite_node_errmsg(node: *mut DqliteNode) -> *const c_char;
}
