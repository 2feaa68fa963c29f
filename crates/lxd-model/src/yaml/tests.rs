//! Tests of the YAML reader and writer, against what the reference's client printed.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;

/// A profile as the reference's client prints it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Profile {
    config: BTreeMap<String, String>,
    description: String,
    devices: BTreeMap<String, BTreeMap<String, String>>,
    name: String,
    used_by: Vec<String>,
}

/// A profile and the text that `lxc profile show` of 5.0.2 made of it.
#[derive(Deserialize)]
struct Golden {
    profile: Profile,
    text: String,
}

#[test]
fn prints_what_the_reference_prints_and_reads_it_back() {
    let cases: Vec<Golden> = serde_json::from_str(include_str!("golden.json")).unwrap();
    assert!(cases.len() > 100);
    for case in &cases {
        assert_eq!(to_string(&case.profile).unwrap(), case.text);
        assert_eq!(
            from_str::<Profile>(&case.text).as_ref(),
            Ok(&case.profile),
            "{}",
            case.text
        );
    }
}

fn config(text: &str) -> BTreeMap<String, String> {
    from_str(text).unwrap()
}

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

#[test]
fn any_scalar_is_a_string_with_the_digits_it_was_written_with() {
    let read =
        config("limits.cpu: 2\nhex: 0x10\nyes: True\nempty:\nnull: ~\nfloat: 1.50\ndate: 2001-01-01\n");
    let wanted = map(&[
        ("limits.cpu", "2"),
        ("hex", "0x10"),
        ("yes", "True"),
        ("empty", ""),
        ("null", ""),
        ("float", "1.50"),
        ("date", "2001-01-01"),
    ]);
    assert_eq!(read, wanted);
}

#[test]
fn null_is_the_empty_value_of_every_type() {
    let profile: Profile =
        from_str("config: null\ndescription:\ndevices:\n  eth0:\nname: ~\nused_by:\nunknown: [1]\n").unwrap();
    assert!(profile.config.is_empty() && profile.used_by.is_empty() && profile.name.is_empty());
    assert_eq!(profile.devices["eth0"].len(), 0);
    assert_eq!(config(""), map(&[]));
}

#[test]
fn aliases_merges_and_repeated_keys() {
    let text = "base: &b {type: nic, name: eth0}\nown:\n  <<: *b\n  name: eth1\n  name: eth2\n";
    let read: BTreeMap<String, BTreeMap<String, String>> = from_str(text).unwrap();
    assert_eq!(read["own"], map(&[("name", "eth2"), ("type", "nic")]));
}

#[test]
fn flow_style_json_and_tags_are_read() {
    assert_eq!(config(r#"{"a": "b", "c": 1}"#), map(&[("a", "b"), ("c", "1")]));
    assert_eq!(
        config("a: !!str 12\nb: !!binary aGVsbG8=\n"),
        map(&[("a", "12"), ("b", "hello")])
    );
}

#[test]
fn numbers_and_booleans_are_read_as_such_where_they_are_due() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Facts {
        size: i64,
        ratio: f64,
        on: bool,
        maybe: Option<u32>,
    }
    let facts: Facts = from_str("size: 0x10\nratio: 2\non: yes\nmaybe: ~\n").unwrap();
    assert_eq!(
        facts,
        Facts {
            size: 16,
            ratio: 2.0,
            on: true,
            maybe: None
        }
    );
    let error = from_str::<Facts>("size: 1\nratio: 1\non: perhaps\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "yaml: unmarshal errors:\n  line 3: cannot unmarshal !!str `perhaps` into bool"
    );
}

#[test]
fn shapes_that_do_not_fit_are_named_with_their_line() {
    let error = from_str::<Profile>("name: x\nconfig:\n- a\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "yaml: unmarshal errors:\n  line 3: cannot unmarshal !!seq into map[string]string"
    );
    assert!(matches!(config_error("a: [\n"), Error::Syntax { .. }));
    assert!(matches!(config_error("a: *nowhere\n"), Error::Syntax { .. }));
}

fn config_error(text: &str) -> Error {
    from_str::<BTreeMap<String, String>>(text).unwrap_err()
}

#[test]
fn bombs_are_refused() {
    let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for i in 1..10 {
        let previous = i - 1;
        text += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{previous}"); 10].join(","));
    }
    let refused = |text: &str| from_str::<serde_json::Value>(text).unwrap_err();
    assert!(matches!(refused(&text), Error::TooLarge { what: "nodes", .. }));
    assert!(matches!(
        refused(&"- ".repeat(5000)),
        Error::TooLarge { .. } | Error::Syntax { .. }
    ));
    assert!(matches!(
        refused(&"[".repeat(5000)),
        Error::TooLarge { .. } | Error::Syntax { .. }
    ));
    assert!(matches!(
        refused(&"#".repeat(17 << 20)),
        Error::TooLarge { what: "bytes", .. }
    ));
}

#[test]
fn numbers_times_and_nothing_are_written_plain() {
    #[derive(Serialize)]
    struct Facts {
        size: i64,
        ratio: f64,
        large: f64,
        created_at: lxd_api::time::Time,
        text: &'static str,
        none: Option<u8>,
        list: Vec<Vec<u8>>,
    }
    let facts = Facts {
        size: -1,
        ratio: 0.25,
        large: 1e30,
        created_at: lxd_api::time::Time::from_unix(0),
        text: "1970-01-01T00:00:00Z",
        none: None,
        list: vec![vec![1, 2], vec![]],
    };
    let wanted = "size: -1\nratio: 0.25\nlarge: 1e+30\ncreated_at: 1970-01-01T00:00:00Z\n\
                  text: \"1970-01-01T00:00:00Z\"\nnone: null\nlist:\n- - 1\n  - 2\n- []\n";
    assert_eq!(to_string(&facts).unwrap(), wanted);
}

#[test]
fn json_without_a_type_has_only_floats() {
    let value = serde_json::json!({
        "a": 1_234_567, "b": 1e21, "c": 0.00001, "d": 1_000_000, "e": 100_000, "f": 5, "i": 0.0001, "j": 1.5,
        "k": null, "l": [1, "x", true, {"b": 1, "a": 2}], "m": {}, "n": 1e-7, "p": 123_456.789, "q": 1_234_567.5
    });
    let wanted = "a: 1.234567e+06\nb: 1e+21\nc: 1e-05\nd: 1e+06\ne: 100000\nf: 5\ni: 0.0001\nj: 1.5\nk: null\n\
                  l:\n- 1\n- x\n- true\n- a: 2\n  b: 1\nm: {}\n\"n\": 1e-07\np: 123456.789\nq: 1.2345675e+06\n";
    assert_eq!(to_string(&Untyped(&value)).unwrap(), wanted);
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_back(
        strings in prop::collection::btree_map("\\PC{0,12}|[ \n\t:#'\"-]{0,6}|.{0,9}", "(?s).{0,120}", 0..6),
        list in prop::collection::vec("(?s)[a \n\r\u{2028}\u{85}\u{feff}:-]{0,90}", 0..4),
    ) {
        let text = to_string(&(&strings, &list)).unwrap();
        let read: (BTreeMap<String, String>, Vec<String>) = from_str(&text).unwrap();
        prop_assert_eq!(read, (strings, list), "{}", text);
    }

    #[test]
    fn reading_never_panics(text in "(?s)[a0 \n:\\-\\[\\]{}&*!|>'\"%#,?~<.]{0,60}") {
        fuzz_round_trip(&text);
    }
}
