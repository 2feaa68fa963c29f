//! How user and group ids on disk become others: in owners, access control lists and capabilities.

use crate::userns::{IdMap, IdRange};

/// The attributes of files that hold ids.
pub(super) const ATTRIBUTES: [&str; 3] = [CAPABILITY, "system.posix_acl_access", "system.posix_acl_default"];

const CAPABILITY: &str = "security.capability";

/// Bits of a capability attribute's first word that say its version.
const REVISION_MASK: u32 = 0xff00_0000;
/// Capabilities of the host's root.
const REVISION_2: u32 = 0x0200_0000;
/// Capabilities of the root of a user namespace, whose id stands at the end.
const REVISION_3: u32 = 0x0300_0000;

/// A change of ids on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owners {
    uids: Change,
    gids: Change,
}

impl Owners {
    /// From the ids of one map to those of another; without a map the ids on disk are those of the inside.
    ///
    /// Ids that a map doesn't have stay what they are.
    pub fn new(from: Option<&IdMap>, to: Option<&IdMap>) -> Self {
        let ranges = |pick: fn(&IdMap) -> &Vec<IdRange>| Change {
            from: from.map(pick).cloned().unwrap_or_default(),
            to: to.map(pick).cloned().unwrap_or_default(),
        };
        Self {
            uids: ranges(|map| &map.uids),
            gids: ranges(|map| &map.gids),
        }
    }

    /// The way back.
    pub fn reversed(self) -> Self {
        let turn = |change: Change| Change {
            from: change.to,
            to: change.from,
        };
        Self {
            uids: turn(self.uids),
            gids: turn(self.gids),
        }
    }

    /// The new id of a user.
    pub fn user(&self, id: u32) -> u32 {
        self.uids.apply(id)
    }

    /// The new id of a group.
    pub fn group(&self, id: u32) -> u32 {
        self.gids.apply(id)
    }

    /// Whether a file with these owners can't have been changed yet.
    pub(super) fn must_be_old(&self, uid: u32, gid: u32) -> bool {
        self.uids.must_be_old(uid) || self.gids.must_be_old(gid)
    }

    /// The new value of an extended attribute; one that holds no ids, or can't be understood, stays.
    pub fn attribute(&self, name: &[u8], value: &[u8]) -> Vec<u8> {
        let new = match ATTRIBUTES.iter().find(|known| known.as_bytes() == name) {
            Some(&CAPABILITY) => self.capability(value),
            Some(_) => self.acl(value),
            None => None,
        };
        new.unwrap_or_else(|| value.to_vec())
    }

    fn capability(&self, value: &[u8]) -> Option<Vec<u8>> {
        let (magic, rest) = value.split_first_chunk::<4>()?;
        let magic = u32::from_le_bytes(*magic);
        let (sets, root) = match (magic & REVISION_MASK, rest.len()) {
            (REVISION_2, 16) => (rest, 0),
            (REVISION_3, 20) => {
                let (sets, root) = rest.split_at_checked(16)?;
                (sets, u32::from_le_bytes(root.try_into().ok()?))
            }
            _ => return None,
        };
        let root = self.user(root);
        let revision = if root == 0 { REVISION_2 } else { REVISION_3 };
        let mut new = (magic & !REVISION_MASK | revision).to_le_bytes().to_vec();
        new.extend_from_slice(sets);
        if root != 0 {
            new.extend_from_slice(&root.to_le_bytes());
        }
        Some(new)
    }

    /// A list is a version, and entries of a tag, permissions and an id.
    fn acl(&self, value: &[u8]) -> Option<Vec<u8>> {
        let (version, rest) = value.split_first_chunk::<4>()?;
        let (list, []) = rest.as_chunks::<8>() else {
            return None;
        };
        if u32::from_le_bytes(*version) != 2 {
            return None;
        }
        let mut new = version.to_vec();
        for entry in list {
            let (head, id) = entry.split_first_chunk::<4>()?;
            let id = u32::from_le_bytes(id.try_into().ok()?);
            let id = match head.first_chunk::<2>().map(|tag| u16::from_le_bytes(*tag))? {
                0x02 => self.user(id),
                0x08 => self.group(id),
                _ => id,
            };
            new.extend_from_slice(head);
            new.extend_from_slice(&id.to_le_bytes());
        }
        Some(new)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    from: Vec<IdRange>,
    to: Vec<IdRange>,
}

impl Change {
    fn apply(&self, id: u32) -> u32 {
        let inside = inside(&self.from, id).unwrap_or(id);
        outside(&self.to, inside).unwrap_or(inside)
    }

    /// No id becomes this one, and it doesn't stay.
    fn must_be_old(&self, id: u32) -> bool {
        let can_be_new = match self.to.is_empty() {
            true => inside(&self.from, id).is_none(),
            false => inside(&self.to, id).is_some(),
        };
        !can_be_new && self.apply(id) != id
    }
}

fn inside(ranges: &[IdRange], id: u32) -> Option<u32> {
    ranges.iter().find_map(|range| {
        let offset = id.checked_sub(range.outside)?;
        (offset < range.count).then(|| range.inside.checked_add(offset))?
    })
}

fn outside(ranges: &[IdRange], id: u32) -> Option<u32> {
    ranges.iter().find_map(|range| {
        let offset = id.checked_sub(range.inside)?;
        (offset < range.count).then(|| range.outside.checked_add(offset))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_from_map_to_map() {
        let (a, b) = (IdMap::shifted(1_000_000, 65_536), IdMap::shifted(2_000_000, 1000));
        let owners = Owners::new(Some(&a), Some(&b));
        assert_eq!(owners.user(1_000_005), 2_000_005);
        // The second map is the smaller one: what it lacks stays as it is inside.
        assert_eq!(owners.group(1_001_000), 1000);
        assert_eq!(owners.clone().reversed().user(2_000_005), 1_000_005);
        let shift = Owners::new(None, Some(&a));
        assert_eq!((shift.user(0), shift.user(70_000)), (1_000_000, 70_000));
        assert!(shift.must_be_old(0, 1_000_000) && !shift.must_be_old(1_000_000, 1_000_001));
        assert!(!shift.must_be_old(70_000, 70_000), "it is in no map");
        let back = Owners::new(Some(&a), None);
        assert!(back.must_be_old(1_000_000, 0) && !back.must_be_old(0, 0));
    }

    #[test]
    fn capabilities_name_the_root_that_they_are_of() {
        let map = IdMap::shifted(1_000_000, 65_536);
        let shift = Owners::new(None, Some(&map));
        let mut plain = (REVISION_2 | 1).to_le_bytes().to_vec();
        plain.extend_from_slice(&[7; 16]);
        let shifted = shift.attribute(CAPABILITY.as_bytes(), &plain);
        assert_eq!(shifted.len(), 24);
        assert_eq!(shifted[..4], (REVISION_3 | 1).to_le_bytes());
        assert_eq!(shifted[20..], 1_000_000_u32.to_le_bytes());
        assert_eq!(
            shift
                .clone()
                .reversed()
                .attribute(CAPABILITY.as_bytes(), &shifted),
            plain
        );
        assert_eq!(shift.attribute(CAPABILITY.as_bytes(), b"odd"), b"odd");
    }

    #[test]
    fn lists_have_users_and_groups() {
        let map = IdMap::shifted(100_000, 65_536);
        let shift = Owners::new(None, Some(&map));
        let mut list = 2_u32.to_le_bytes().to_vec();
        for (tag, id) in [(1_u16, u32::MAX), (2, 7), (8, 9), (0x20, u32::MAX)] {
            list.extend_from_slice(&tag.to_le_bytes());
            list.extend_from_slice(&[6, 0]);
            list.extend_from_slice(&id.to_le_bytes());
        }
        let new = shift.attribute(b"system.posix_acl_access", &list);
        assert_eq!(new[8..12], u32::MAX.to_le_bytes());
        assert_eq!(new[16..20], 100_007_u32.to_le_bytes());
        assert_eq!(new[24..28], 100_009_u32.to_le_bytes());
        assert_eq!(
            shift
                .clone()
                .reversed()
                .attribute(b"system.posix_acl_access", &new),
            list
        );
        assert_eq!(shift.attribute(b"system.posix_acl_access", &list[..9]), list[..9]);
    }
}
