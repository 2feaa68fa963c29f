//! The YAML emitter: whatever string is written is read back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    assert!(lxd_model::yaml::fuzz_round_trip(text));
});
