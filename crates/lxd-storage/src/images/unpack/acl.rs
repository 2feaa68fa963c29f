//! Access control lists from their text form to the kernel's.

/// The binary form (version 2 of the `posix_acl_*` attributes) of `user::rwx,user:1000:r--,group::r-x,mask::r-x,other::---`.
/// None when the text is malformed or has names instead of numbers: they would mean this host's users, not the image's.
pub(super) fn encode(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut entries: Vec<(u16, u16, u32)> = Vec::new();
    for line in text
        .split([',', '\n'])
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let fields: Vec<&str> = line.split(':').collect();
        let (tag, qualifier) = (*fields.first()?, *fields.get(1)?);
        // star adds the number behind the permissions.
        let id = || fields.get(3).copied().unwrap_or(qualifier).parse::<u32>().ok();
        let (tag, id) = match (tag, qualifier) {
            ("user" | "u", "") => (0x01, u32::MAX),
            ("user" | "u", _) => (0x02, id()?),
            ("group" | "g", "") => (0x04, u32::MAX),
            ("group" | "g", _) => (0x08, id()?),
            ("mask" | "m", _) => (0x10, u32::MAX),
            ("other" | "o", _) => (0x20, u32::MAX),
            _ => return None,
        };
        // A comment such as "#effective:r--" may follow.
        let permissions = fields.get(2)?.get(..3)?;
        let mut bits = 0;
        for (letter, bit) in permissions.chars().zip([4, 2, 1]) {
            if letter != '-' {
                bits |= bit;
            }
        }
        entries.push((tag, bits, id));
    }
    // The kernel wants them by tag, and by number within a tag.
    entries.sort_by_key(|(tag, _, id)| (*tag, *id));
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, bits, id) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&bits.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    (value.len() > 4).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn numbers_are_encoded_in_order_and_names_refused() {
        let value = encode(b"user::rwx,group::r-x,user:7:r--,mask::r-x,other::---").unwrap();
        assert_eq!(value.len(), 4 + 5 * 8);
        assert_eq!(&value[4..12], [1, 0, 7, 0, 255, 255, 255, 255]);
        assert_eq!(&value[12..20], [2, 0, 4, 0, 7, 0, 0, 0]);
        assert_eq!(encode(b"user:joe:rwx"), None);
        assert_eq!(encode(b"user:joe:rwx:12").unwrap()[8..12], [12, 0, 0, 0]);
        assert_eq!(encode(b""), None);
    }
}
