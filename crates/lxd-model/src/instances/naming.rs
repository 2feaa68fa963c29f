//! Names that the server makes up: for instances without one, and for snapshots.

/// First halves of made-up names.
const ADJECTIVES: &[&str] = &[
    "able", "agile", "amber", "apt", "azure", "bold", "brave", "bright", "brisk", "calm", "candid", "clever",
    "cosy", "crisp", "dapper", "deft", "eager", "early", "easy", "fair", "fast", "fond", "free", "fresh",
    "gentle", "glad", "golden", "grand", "happy", "hardy", "honest", "humble", "jolly", "keen", "kind",
    "lively", "loyal", "lucky", "mellow", "merry", "mild", "neat", "nimble", "noble", "patient", "plucky",
    "polite", "proud", "quick", "quiet", "ready", "robust", "sharp", "silver", "smart", "snug", "steady",
    "sunny", "swift", "tidy", "trusty", "vivid", "warm", "wise",
];

/// Second halves of made-up names.
const ANIMALS: &[&str] = &[
    "alpaca", "badger", "beaver", "bison", "buzzard", "camel", "caribou", "cheetah", "condor", "cougar",
    "crane", "cricket", "curlew", "dingo", "dolphin", "donkey", "dove", "eagle", "egret", "falcon", "ferret",
    "finch", "fox", "gazelle", "gecko", "gibbon", "goose", "grouse", "hare", "hedgehog", "heron", "ibex",
    "ibis", "jackdaw", "jaguar", "kestrel", "lark", "lemur", "leopard", "lion", "lynx", "magpie", "marmot",
    "marten", "moose", "newt", "ocelot", "orca", "osprey", "otter", "owl", "panda", "pelican", "plover",
    "puffin", "raven", "robin", "seal", "shrew", "stork", "swan", "tapir", "wombat", "wren",
];

/// A name such as `brave-otter` out of random bits, the first one that is free; with a number when luck runs out.
pub fn instance(random: u64, taken: impl Fn(&str) -> bool) -> String {
    let pick = |words: &[&'static str], bits: u64| words[(bits % words.len() as u64) as usize];
    for turn in 0..8 {
        let bits = random.rotate_left(turn * 8);
        let name = format!("{}-{}", pick(ADJECTIVES, bits), pick(ANIMALS, bits >> 32));
        if !taken(&name) {
            return name;
        }
    }
    let base = format!("{}-{}", pick(ADJECTIVES, random), pick(ANIMALS, random >> 32));
    (2_u64..)
        .map(|n| format!("{base}-{n}"))
        .find(|name| !taken(name))
        .unwrap_or(base)
}

/// The next name by a pattern: `%d` is one more than the highest number in use, or appended where two would be alike.
pub fn snapshot<'a>(pattern: &str, existing: impl IntoIterator<Item = &'a str> + Clone) -> String {
    if let Some((before, after)) = pattern.split_once("%d") {
        let number = |name: &str| {
            name.strip_prefix(before)?
                .strip_suffix(after)?
                .parse::<u64>()
                .ok()
        };
        let next = existing
            .into_iter()
            .filter_map(number)
            .max()
            .map_or(0, |highest| highest + 1);
        return format!("{before}{next}{after}");
    }
    if !existing.clone().into_iter().any(|name| name == pattern) {
        return pattern.to_owned();
    }
    snapshot(&format!("{pattern}-%d"), existing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names;

    #[test]
    fn made_up_names_are_valid_and_free() {
        for random in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
            names::instance(&instance(random, |_| false)).unwrap();
        }
        let first = instance(7, |_| false);
        let second = instance(7, |name| name == first);
        assert_ne!(first, second);
        let numbered = instance(7, |name| !name.ends_with("-3"));
        assert!(numbered.ends_with("-3"), "{numbered}");
        for list in [ADJECTIVES, ANIMALS] {
            let mut sorted = list.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted, list);
        }
    }

    #[test]
    fn snapshots_count_on() {
        assert_eq!(snapshot("snap%d", []), "snap0");
        assert_eq!(snapshot("snap%d", ["snap0", "snap2", "other", "snapx"]), "snap3");
        assert_eq!(snapshot("daily", []), "daily");
        assert_eq!(snapshot("daily", ["daily", "daily-0"]), "daily-1");
    }
}
