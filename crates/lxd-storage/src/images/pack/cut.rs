//! Cuts in a stream that follow its content: what is the same behind a change is cut at the same places.

/// Bits of the hash that are zero at a cut: there is one in 256 KiB on average.
const MASK: u64 = 0xffff_c000_0000_0000;

/// A hash of the last 64 bytes.
#[derive(Debug, Default)]
pub(super) struct Cut {
    hash: u64,
}

impl Cut {
    /// Reads bytes up to the first cut, if one is among them; gives how many there are before it.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            self.hash = (self.hash << 1).wrapping_add(scattered(*byte));
            if self.hash & MASK == 0 {
                return Some(at + 1);
            }
        }
        None
    }
}

/// Another number for each byte, whose bits are even.
const fn scattered(byte: u8) -> u64 {
    let mut number = (byte as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
