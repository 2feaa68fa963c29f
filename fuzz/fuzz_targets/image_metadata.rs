//! The metadata of an image: any text gives metadata or an error that says what is wrong.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Err(error) = lxd_model::images::parse_metadata(data) {
        assert!(!error.to_string().is_empty());
    }
});
