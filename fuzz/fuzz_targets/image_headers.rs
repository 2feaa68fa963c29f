//! The headers of web servers that have an image as a single file: any texts give a fingerprint and a URL, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (Option<&str>, Option<&str>)| {
    match lxd_model::images::direct_headers(data.0, data.1) {
        Ok((fingerprint, url)) => {
            assert!(fingerprint.len() == 64 && lxd_model::images::is_fingerprint_prefix(&fingerprint));
            assert!(url.starts_with("http"));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
