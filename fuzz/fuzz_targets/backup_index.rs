//! The indexes of backups of instances and of volumes: any bytes are one, or an error says why not.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    lxd_core::instances::backups::fuzz_index(data);
    lxd_core::storage_volumes::backups::fuzz_index(data);
});
