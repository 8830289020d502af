//! Reading a frame out of shared bytes: the postcard subset, without copies.

use bytes::Bytes;

use crate::codec::Malformed;

/// Takes fields from the front of what is left; every field is a slice of the same allocation.
pub(super) struct Reader {
    what: &'static str,
    rest: Bytes,
}

impl Reader {
    pub(super) const fn new(what: &'static str, bytes: Bytes) -> Self {
        Self { what, rest: bytes }
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        let byte = self.rest.first().copied().ok_or_else(|| self.undecodable())?;
        self.rest = self.rest.slice(1..);
        Ok(byte)
    }

    /// A LEB128 varint in its shortest form, at most `max`.
    pub(super) fn varint(&mut self, max: usize) -> Result<usize, Malformed> {
        let mut value = 0u64;
        for (index, byte) in self.rest.iter().take(5).copied().enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                if byte == 0 && index > 0 {
                    return Err(Malformed::NotCanonical { what: self.what });
                }
                let value = usize::try_from(value).ok().filter(|v| *v <= max).ok_or_else(|| self.undecodable())?;
                self.rest = self.rest.slice(index + 1..);
                return Ok(value);
            }
        }
        Err(self.undecodable())
    }

    /// `length` bytes.
    pub(super) fn take(&mut self, length: usize) -> Result<Bytes, Malformed> {
        if length > self.rest.len() {
            return Err(self.undecodable());
        }
        Ok(self.rest.split_to(length))
    }

    /// A varint length of at most `max`, then so many bytes.
    pub(super) fn bytes(&mut self, max: usize) -> Result<Bytes, Malformed> {
        let length = self.varint(max)?;
        self.take(length)
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::NotCanonical { what: self.what }) }
    }

    const fn undecodable(&self) -> Malformed {
        Malformed::Undecodable { what: self.what }
    }
}

/// The inverse of [`Reader::varint`].
pub(super) fn push_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The inverse of [`Reader::bytes`].
pub(super) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_varint(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Bytes of a varint.
pub(super) const fn varint_len(value: usize) -> usize {
    let mut length = 1;
    let mut rest = value >> 7;
    while rest > 0 {
        length += 1;
        rest >>= 7;
    }
    length
}
