//! Tests of id maps.

use proptest::prelude::*;

use super::*;

const HOST: Range = Range {
    base: 100_000,
    size: 10_000_001,
};

fn config(entries: &[(&str, &str)]) -> Config {
    entries
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

/// The ids of a host.
const ALL: i64 = 4_294_967_295;

#[test]
fn the_json_is_the_references() {
    let text = "[{\"Isuid\":true,\"Isgid\":false,\"Hostid\":100000,\"Nsid\":0,\"Maprange\":10000001},\
                {\"Isuid\":false,\"Isgid\":true,\"Hostid\":100000,\"Nsid\":0,\"Maprange\":10000001}]";
    assert_eq!(IdMap::of_range(HOST).to_json(), text);
    assert_eq!(IdMap::from_json(text).unwrap(), IdMap::of_range(HOST));
    assert_eq!(IdMap::default().to_json(), "[]");
    assert_eq!(IdMap::from_json("").unwrap(), IdMap::default());
    assert!(IdMap::from_json("{").is_err());
}

#[test]
fn the_hosts_range() {
    let text = "_lxd:5:70000\nroot:100000:65536\nroot:1000000:1000000000\nlxd:7:99999\n# x\nroot:x:y\n";
    assert_eq!(
        host_range(text, text, ALL),
        Some(Range {
            base: 1_000_000,
            size: 1_000_000_000
        })
    );
    assert_eq!(
        host_range("lxd:100000:65536", "lxd:100000:65536", ALL)
            .unwrap()
            .base,
        100_000
    );
    assert_eq!(
        host_range("", "", ALL),
        Some(Range {
            base: DEFAULT_BASE,
            size: DEFAULT_SIZE
        })
    );
    assert_eq!(host_range("root:1:100", "root:1:100", ALL), None);
    assert_eq!(host_range("root:100000:65536", "root:900000:65536", ALL), None);
}

#[test]
fn containers_in_containers_have_what_is_there() {
    let ids = |text| ids_from_zero(text);
    assert_eq!(ids("         0          0 4294967295\n"), ALL);
    assert_eq!(ids("0 100000 10000001\n"), 10_000_001);
    assert_eq!(ids("1000 1000 1\n0 100000 1000\n1001 101001 64535\n"), 65_536);
    assert_eq!(ids("5 100000 1000\n"), 0);
    let nested = host_range("", "", 10_000_001);
    let wanted = Range {
        base: 100_000,
        size: 9_900_001,
    };
    assert_eq!(nested, Some(wanted));
    assert_eq!(host_range("", "", 65_536), None);
}

#[test]
fn raw_lines_are_read_or_refused() {
    let entry = |is_uid, is_gid, host_id, ns_id, range| Entry {
        is_uid,
        is_gid,
        host_id,
        ns_id,
        range,
    };
    assert_eq!(
        parse_raw("both 1000 1000\n\nuid 50-60 500-510\ngid 1 2").unwrap(),
        [
            entry(true, true, 1000, 1000, 1),
            entry(true, false, 50, 500, 11),
            entry(false, true, 1, 2, 1)
        ]
    );
    for (bad, why) in [
        ("x", "Invalid ID map line \"x\""),
        ("uid 1", "Invalid ID map line \"uid 1\""),
        ("x 1 2", "Invalid ID map type \"x 1 2\""),
        (
            "uid 1-2 3",
            "The ID map ranges are of different sizes \"uid 1-2 3\"",
        ),
        ("uid -1 2", "strconv.ParseInt: parsing \"\": invalid syntax"),
        ("uid a 2", "strconv.ParseInt: parsing \"a\": invalid syntax"),
        ("uid 1 2 3", "Invalid ID map line \"uid 1 2 3\""),
        ("uid 1-2-3 1", "Invalid ID Map range \"1-2-3\""),
        (" uid 1 1", "Invalid ID map line \" uid 1 1\""),
        (
            "uid 99999999999999999999 1",
            "strconv.ParseInt: parsing \"99999999999999999999\": value out of range",
        ),
    ] {
        assert_eq!(parse_raw(bad).unwrap_err().to_string(), why);
    }
}

/// A map in short: kind, first id on the host, first id inside, number.
fn short(map: &IdMap) -> String {
    let entry = |e: &Entry| {
        let kind = match (e.is_uid, e.is_gid) {
            (true, true) => "both",
            (true, false) => "u",
            _ => "g",
        };
        format!("{kind} {} {} {}", e.host_id, e.ns_id, e.range)
    };
    map.0.iter().map(entry).collect::<Vec<_>>().join(", ")
}

/// All of these answers are the reference's.
#[test]
fn raw_ids_split_the_range() {
    let with = |raw: &str| IdMap::of_range(HOST).with_raw(&parse_raw(raw).unwrap());
    let map = with("both 1000 1000").unwrap();
    assert_eq!(
        short(&map),
        "u 100000 0 1000, both 1000 1000 1, u 101001 1001 9999000, g 100000 0 1000, both 1000 1000 1, g 101001 1001 9999000"
    );
    assert_eq!(
        (map.host_uid(0), map.host_uid(1000), map.host_gid(1001)),
        (Some(100_000), Some(1000), Some(101_001))
    );
    for (raw, wanted) in [
        ("uid 0 0", "u 0 0 1, u 100001 1 10000000, g 100000 0 10000001"),
        (
            "uid 1000-1001 1000-1001\nuid 2000-2003 999-1002",
            "u 100000 0 999, u 2000 999 4, u 101003 1003 9998998, g 100000 0 10000001",
        ),
        (
            "both 5 20000000",
            "u 100000 0 10000001, g 100000 0 10000001, both 5 20000000 1",
        ),
        (
            "both 1000-1001 10000000-10000001",
            "u 100000 0 10000000, both 1000 10000000 2, g 100000 0 10000000, both 1000 10000000 2",
        ),
        (
            "uid 1000 1000\nuid 1000 1000",
            "u 100000 0 1000, u 1000 1000 1, u 101001 1001 9999000, g 100000 0 10000001, u 1000 1000 1",
        ),
    ] {
        assert_eq!(short(&with(raw).unwrap()), wanted, "{raw}");
    }
    for raw in [
        "uid 100005 7",
        "uid 99999 5",
        "uid 10100001 5",
        "uid 100000 20000000",
        "uid 1000-1001 1000-1001\nuid 1000-1001 2000-2001",
    ] {
        let text = with(raw).unwrap_err().to_string();
        assert_eq!(text, "Host id is in the range of subids", "{raw}");
    }
}

#[test]
fn ranges_are_allocated_behind_the_shared_one() {
    let plain = config(&[]);
    let isolated = config(&[("security.idmap.isolated", "true")]);
    let privileged = config(&[
        ("security.privileged", "true"),
        ("security.idmap.isolated", "true"),
    ]);
    let at = |base| Some(Range { base, size: 65_536 });
    assert_eq!(allocate(&plain, HOST, &[]).unwrap(), Some(HOST));
    assert_eq!(allocate(&privileged, HOST, &[]).unwrap(), None);
    assert_eq!(allocate(&isolated, HOST, &[]).unwrap(), at(165_536));
    let taken = [
        Range {
            base: 165_536,
            size: 65_536,
        },
        Range {
            base: 300_000,
            size: 65_536,
        },
    ];
    assert_eq!(allocate(&isolated, HOST, &taken[..1]).unwrap(), at(231_072));
    assert_eq!(allocate(&isolated, HOST, &taken).unwrap(), at(231_072));
    let small = Range {
        base: 100_000,
        size: 100_000,
    };
    assert_eq!(
        allocate(&isolated, small, &[]).unwrap_err().to_string(),
        "Not enough uid/gid available for the container"
    );
    let fixed = config(&[
        ("security.idmap.isolated", "1"),
        ("security.idmap.base", "7"),
        ("security.idmap.size", "9"),
    ]);
    assert_eq!(
        allocate(&fixed, HOST, &[]).unwrap(),
        Some(Range { base: 7, size: 9 })
    );
}

proptest! {
    #[test]
    fn allocated_ranges_never_meet(sizes in prop::collection::vec(1_u32..200_000, 1..20), gaps in any::<u64>()) {
        let mut taken: Vec<Range> = Vec::new();
        for (i, size) in sizes.iter().enumerate() {
            let wish = config(&[("security.idmap.isolated", "true"), ("security.idmap.size", &size.to_string())]);
            if let Ok(Some(range)) = allocate(&wish, HOST, &taken) {
                for other in &taken {
                    prop_assert!(range.base + range.size <= other.base || other.base + other.size <= range.base);
                }
                taken.push(range);
            }
            if gaps >> (i % 64) & 1 == 1 {
                taken.remove(0);
            }
        }
    }

    #[test]
    fn punched_maps_stay_injective(host in 0_i64..90_000, ns in 0_i64..5_999, len in 1_i64..100) {
        let hole = Entry { is_uid: true, is_gid: false, host_id: host, ns_id: ns, range: len };
        let map = IdMap::of_range(Range { base: 100_000, size: 6_000 }).with_raw(&[hole]).unwrap();
        let mut hosts: Vec<i64> = (0..7_200).filter_map(|id| map.host_uid(id)).collect();
        let count = hosts.len();
        hosts.sort_unstable();
        hosts.dedup();
        prop_assert_eq!(hosts.len(), count);
        prop_assert_eq!(map.host_uid(ns), Some(host));
    }
}
