//! The little of protocol buffers that the messages need: numbers, bytes, and messages in messages.

/// What goes over as a message.
pub(crate) trait Message: Sized {
    /// Its fields.
    fn encode(&self) -> Vec<u8>;

    /// Reads its fields; others are left out. None if these are no fields, or one is no text.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

/// Fields in the making.
#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// Adds a number.
    pub(super) fn number(&mut self, tag: u64, value: u64) -> &mut Self {
        self.varint(tag << 3);
        self.varint(value);
        self
    }

    /// Adds a number if there is one; signed ones as what they are in two's complement.
    pub(super) fn maybe(&mut self, tag: u64, value: Option<impl Into<i64>>) -> &mut Self {
        match value {
            Some(value) => self.number(tag, value.into().cast_unsigned()),
            None => self,
        }
    }

    /// Adds bytes: a text, a message.
    pub(super) fn bytes(&mut self, tag: u64, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.varint(tag << 3 | 2);
        self.varint(bytes.as_ref().len() as u64);
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    /// The fields so far.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// A field's value.
pub(super) enum Value<'a> {
    /// A number.
    Number(u64),
    /// Bytes; empty for numbers of fixed length, which no field of ours has.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// As a number; 0 for what is none.
    pub(super) fn number(&self) -> i64 {
        match self {
            Self::Number(value) => value.cast_signed(),
            Self::Bytes(_) => 0,
        }
    }

    /// As yes or no.
    pub(super) fn yes(&self) -> bool {
        self.number() != 0
    }

    /// As bytes; empty for numbers.
    pub(super) fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Number(_) => &[],
            Self::Bytes(bytes) => bytes,
        }
    }

    /// As a text.
    pub(super) fn text(&self) -> Option<String> {
        String::from_utf8(self.bytes().to_vec()).ok()
    }
}

/// Takes fields apart.
pub(super) fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut bytes)?),
            1 => skip(&mut bytes, 8)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Value::Bytes(value)
            }
            5 => skip(&mut bytes, 4)?,
            _ => return None,
        };
        fields.push((key >> 3, value));
    }
    Some(fields)
}

fn skip<'a>(bytes: &mut &[u8], length: usize) -> Option<Value<'a>> {
    *bytes = bytes.split_at_checked(length)?.1;
    Some(Value::Bytes(&[]))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_or_endless_is_no_message() {
        let whole = Writer::default().number(1, 300).bytes(2, "abc").finish();
        assert_eq!(whole, b"\x08\xac\x02\x12\x03abc");
        let read = fields(&whole).unwrap();
        assert_eq!((read[0].0, read[0].1.number()), (1, 300));
        assert_eq!(read[1].1.text().unwrap(), "abc");
        for broken in [&whole[..2], &whole[..6], &[0x08; 1], &[0xff; 11], b"\x0b"] {
            assert!(fields(broken).is_none(), "{broken:?}");
        }
        assert!(fields(&[0x09, 1, 2, 3, 4, 5, 6, 7, 8, 0x0d, 1, 2, 3, 4]).is_some());
    }
}
