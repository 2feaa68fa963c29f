//! Keeps the processors evenly used by instances that want some number of them, as instances come and go. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::instance::Key;
use crate::limits::{Machine, Processors};

/// What one instance wants and has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    /// What its configuration asks for.
    pub(crate) wanted: Processors,
    /// The processors that it was given.
    pub(crate) has: BTreeSet<u32>,
}

/// Moves instances off the most used processors to the least used ones, one processor at a time, until no move makes the use
/// more even. Instances that name their processors stay. The shares that changed.
pub(crate) fn balance(machine: &Machine, shares: &BTreeMap<Key, Share>) -> BTreeMap<Key, BTreeSet<u32>> {
    let mut now: BTreeMap<&Key, BTreeSet<u32>> = shares
        .iter()
        .map(|(key, share)| (key, share.has.clone()))
        .collect();
    let mut users: BTreeMap<u32, usize> = machine.processors.iter().map(|cpu| (*cpu, 0)).collect();
    for cpu in now.values().flatten() {
        users.entry(*cpu).and_modify(|count| *count += 1);
    }
    while let Some((key, from, to)) = next_move(shares, &now, &users) {
        if let Some(set) = now.get_mut(&key) {
            set.remove(&from);
            set.insert(to);
        }
        users.entry(from).and_modify(|count| *count -= 1);
        users.entry(to).and_modify(|count| *count += 1);
    }
    let changed = now.into_iter().filter(|(key, set)| shares[*key].has != *set);
    changed.map(|(key, set)| (key.clone(), set)).collect()
}

/// A move that makes the use more even: who, from where, to where.
fn next_move(
    shares: &BTreeMap<Key, Share>,
    now: &BTreeMap<&Key, BTreeSet<u32>>,
    users: &BTreeMap<u32, usize>,
) -> Option<(Key, u32, u32)> {
    let mut order: Vec<(usize, u32)> = users.iter().map(|(cpu, count)| (*count, *cpu)).collect();
    order.sort_unstable();
    for (most, from) in order.iter().rev() {
        for (least, to) in &order {
            if least + 2 > *most {
                break;
            }
            let movable = now.iter().find(|(key, set)| {
                let is_free = matches!(shares[**key].wanted, Processors::Count(_));
                is_free && set.contains(from) && !set.contains(to)
            });
            if let Some((key, _)) = movable {
                return Some(((*key).clone(), *from, *to));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn machine() -> Machine {
        Machine {
            memory: 1,
            processors: (0..4).collect(),
        }
    }

    fn shares(all: &[(&str, Processors, &[u32])]) -> BTreeMap<Key, Share> {
        let share = |(name, wanted, has): &(&str, Processors, &[u32])| {
            let share = Share {
                wanted: wanted.clone(),
                has: has.iter().copied().collect(),
            };
            (Key::new("default", *name), share)
        };
        all.iter().map(share).collect()
    }

    #[test]
    fn who_is_free_makes_room_for_who_is_not() {
        let pinned = Processors::Set([0].into());
        let all = shares(&[
            ("a", Processors::Count(1), &[0]),
            ("b", Processors::Count(1), &[0]),
            ("c", pinned, &[0]),
        ]);
        let moved = balance(&machine(), &all);
        let sets: BTreeSet<&BTreeSet<u32>> = moved.values().collect();
        assert_eq!((moved.len(), sets.len()), (2, 2), "{moved:?}");
        assert!(!moved.contains_key(&Key::new("default", "c")));
        let even = shares(&[
            ("a", Processors::Count(1), &[0]),
            ("b", Processors::Count(2), &[1, 2]),
        ]);
        assert!(balance(&machine(), &even).is_empty(), "nobody moves for nothing");
    }

    proptest! {
        #[test]
        fn sizes_stay_and_use_is_even(sets in proptest::collection::vec(proptest::collection::btree_set(0_u32..4, 1..4), 0..12)) {
            let all: BTreeMap<Key, Share> = sets.iter().enumerate().map(|(index, has)| {
                let share = Share { wanted: Processors::Count(has.len()), has: has.clone() };
                (Key::new("default", format!("c{index}")), share)
            }).collect();
            let moved = balance(&machine(), &all);
            let mut users = [0_usize; 4];
            for (key, share) in &all {
                let set = moved.get(key).unwrap_or(&share.has);
                prop_assert_eq!(set.len(), share.has.len());
                set.iter().for_each(|cpu| users[*cpu as usize] += 1);
            }
            let (most, least) = (users.iter().max().unwrap(), users.iter().min().unwrap());
            prop_assert!(most - least <= 1, "{:?}", users);
        }
    }
}
