//! What liblxc's monitor sends about a system call that was held up, and what it wants back. Pure.

/// The sizes of the parts that every kernel and every liblxc has; both may send longer ones.
const HEADER: usize = 32;
const NOTIFICATION: usize = 80;
const ANSWER: usize = 24;

/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE`: the kernel goes on with the call as if nobody had looked at it.
const CONTINUE: u32 = 1;

/// A call that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// The container's monitor, which has sent this.
    pub(super) monitor: i32,
    /// The container's init.
    pub(super) init: i32,
    /// The call's id.
    pub(super) id: u64,
    /// The thread that calls.
    pub(super) pid: u32,
    /// The number of the call.
    pub(super) number: i32,
    /// The machine's interface that the number belongs to, as `AUDIT_ARCH_*`.
    pub(super) architecture: u32,
    /// The arguments.
    pub(super) args: [u64; 6],
    /// What the daemon has written into the container's configuration.
    pub(super) cookie: Vec<u8>,
    answer_at: usize,
    bytes: Vec<u8>,
}

/// What becomes of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The kernel carries it out, with the rights that the caller has.
    Continue,
    /// It was carried out, and returns this.
    Done(i64),
    /// It failed with this `errno`.
    Failed(i32),
}

impl Message {
    /// Reads a datagram; none if it is not one of these.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let size = |at: usize| {
            Some(usize::from(u16::from_le_bytes(
                bytes.get(at..at + 2)?.try_into().ok()?,
            )))
        };
        let (notification, answer) = (size(16)?, size(18)?);
        let cookie = usize::try_from(u64_at(bytes, 24)?).ok()?;
        if notification < NOTIFICATION || answer < ANSWER {
            return None;
        }
        let answer_at = HEADER + notification;
        let end = answer_at + answer;
        if end.checked_add(cookie)? != bytes.len() {
            return None;
        }
        let mut args = [0; 6];
        for (index, arg) in args.iter_mut().enumerate() {
            *arg = u64_at(bytes, HEADER + 32 + 8 * index)?;
        }
        Some(Self {
            monitor: i32_at(bytes, 8)?,
            init: i32_at(bytes, 12)?,
            id: u64_at(bytes, HEADER)?,
            pid: i32_at(bytes, HEADER + 8)?.cast_unsigned(),
            number: i32_at(bytes, HEADER + 16)?,
            architecture: i32_at(bytes, HEADER + 20)?.cast_unsigned(),
            args,
            cookie: bytes[end..].to_vec(),
            answer_at,
            bytes: bytes[..end].to_vec(),
        })
    }

    /// The datagram to send back: what came, with the answer in it, without the cookie.
    pub(super) fn answer(&self, verdict: Verdict) -> Vec<u8> {
        let (value, error, flags) = match verdict {
            Verdict::Continue => (0, 0, CONTINUE),
            Verdict::Done(value) => (value, 0, 0),
            Verdict::Failed(errno) => (0, -errno, 0),
        };
        let mut bytes = self.bytes.clone();
        let answer = &mut bytes[self.answer_at..self.answer_at + ANSWER];
        answer[..8].copy_from_slice(&self.id.to_le_bytes());
        answer[8..16].copy_from_slice(&i64::to_le_bytes(value));
        answer[16..20].copy_from_slice(&i32::to_le_bytes(error));
        answer[20..24].copy_from_slice(&u32::to_le_bytes(flags));
        bytes
    }
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A datagram as liblxc 5.0.2 sends it.
    pub(crate) fn datagram(number: i32, args: [u64; 6], cookie: &[u8]) -> Vec<u8> {
        let mut out = vec![0; 8];
        for pid in [10_i32, 11] {
            out.extend(pid.to_le_bytes());
        }
        for size in [80_u16, 24, 64, 0] {
            out.extend(size.to_le_bytes());
        }
        out.extend((cookie.len() as u64).to_le_bytes());
        out.extend(77_u64.to_le_bytes());
        out.extend(12_u32.to_le_bytes());
        out.extend(0_u32.to_le_bytes());
        out.extend(number.to_le_bytes());
        out.extend(0xc000_003e_u32.to_le_bytes());
        out.extend(0_u64.to_le_bytes());
        args.iter().for_each(|arg| out.extend(arg.to_le_bytes()));
        out.extend([0; 24]);
        out.extend(cookie);
        out
    }

    #[test]
    fn a_message_is_read_and_answered_without_its_cookie() {
        let bytes = datagram(133, [1, 2, 3, 4, 5, 6], b"42");
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.monitor, message.init, message.pid), (10, 11, 12));
        assert_eq!((message.id, message.number), (77, 133));
        assert_eq!(
            (message.args, message.cookie.as_slice()),
            ([1, 2, 3, 4, 5, 6], &b"42"[..])
        );
        let answer = message.answer(Verdict::Failed(1));
        assert_eq!(answer.len(), bytes.len() - 2);
        assert_eq!(
            answer[112..120],
            77_u64.to_le_bytes(),
            "the answer names the call"
        );
        assert_eq!(answer[128..132], (-1_i32).to_le_bytes());
        assert_eq!(message.answer(Verdict::Continue)[132..136], 1_u32.to_le_bytes());
        assert_eq!(message.answer(Verdict::Done(0))[120..136], [0; 16]);
        assert_eq!(message.answer(Verdict::Done(9))[120..128], 9_i64.to_le_bytes());
        for length in 0..bytes.len() {
            assert_eq!(Message::parse(&bytes[..length]), None, "{length}");
        }
    }
}
