//! The run-time state of an instance, as far as this crate knows it.

use std::collections::BTreeMap;

use lxd_api::instance_state::{InstanceStateMemory, InstanceStateNetwork};

use crate::lifecycle::Phase;

/// Counters and addresses of an instance. All zero and empty for one that does not run.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Where it is in its life.
    pub phase: Phase,
    /// Its init, seen from the host; 0 when it does not run.
    pub pid: i32,
    /// Processes and threads.
    pub processes: i64,
    /// Processor time in nanoseconds.
    pub cpu_usage: i64,
    /// Memory and swap in bytes.
    pub memory: InstanceStateMemory,
    /// Network cards by their names inside.
    pub network: BTreeMap<String, InstanceStateNetwork>,
}

impl State {
    /// The state of an instance without processes.
    pub fn without_processes(phase: Phase) -> Self {
        Self {
            phase,
            pid: 0,
            processes: 0,
            cpu_usage: 0,
            memory: InstanceStateMemory::default(),
            network: BTreeMap::new(),
        }
    }
}
