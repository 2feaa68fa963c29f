//! The client's `config.yml`: any text is read or refused, and what was read is written and read back the same.
#![no_main]
#![allow(dead_code)]

#[path = "../../crates/lxc/src/config/content.rs"]
mod content;
#[path = "../../crates/lxc/src/config/remotes.rs"]
mod remotes;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(read) = content::parse(text) {
        let written = lxd_model::yaml::to_string(&read).expect("what was read can be written");
        assert_eq!(content::parse(&written).expect("and read"), read, "{written}");
    }
});
