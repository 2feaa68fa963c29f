//! YAML: any string is written so that it is read back as it was, as key and as value; any text is read without a
//! panic, and what was read is written and read back the same.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use lxd_model::yaml;

fuzz_target!(|text: &str| {
    yaml::fuzz_round_trip(text);
    let map = BTreeMap::from([(format!("k{text}"), text.to_owned()), ("list".to_owned(), text.to_owned())]);
    let written = yaml::to_string(&map).expect("strings can be written");
    let read: BTreeMap<String, String> = yaml::from_str(&written).expect("what was written can be read");
    assert_eq!(read, map, "{written}");
});
