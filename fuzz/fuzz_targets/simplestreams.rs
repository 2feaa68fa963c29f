//! The lists of simplestreams servers: any text gives images whose aliases lead to them, or an error that says what is wrong.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lxd_model::simplestreams::{Catalogue, parse_index, parse_products};

fuzz_target!(|data: &[u8]| {
    if let Err(error) = parse_index(data) {
        assert!(!error.to_string().is_empty());
    }
    match parse_products(data) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(images) => {
            let catalogue = Catalogue::new(images, "x86_64");
            for alias in &catalogue.aliases {
                assert!(catalogue.alias(&alias.r#type, &alias.name).is_some());
                let leads = |listed: &lxd_model::simplestreams::Listed| listed.image.fingerprint == alias.target;
                assert!(catalogue.images.iter().any(leads));
            }
        }
    }
});
