//! Fuzz input as a script of edits to something valid: mutation that gets behind checksums of the outermost layer.

/// Bytes of one edit: what, where (two bytes), with what.
const EDIT_BYTES: usize = 4;
const EDITS_MAX: usize = 32;

/// `base` after the edits that `script` describes. Every script is a valid one.
pub(super) fn edited(base: &[u8], script: &[u8]) -> Vec<u8> {
    let mut bytes = base.to_vec();
    for edit in script.chunks_exact(EDIT_BYTES).take(EDITS_MAX) {
        let (length, value) = (bytes.len().max(1), usize::from(edit[3]));
        let at = usize::from(u16::from_be_bytes([edit[1], edit[2]])) % length;
        let end = (at + value + 1).min(bytes.len());
        match edit[0] % 6 {
            0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = edit[3]),
            1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= edit[3]),
            2 => bytes.insert(at.min(bytes.len()), edit[3]),
            3 => drop(bytes.drain(at.min(end)..end)),
            4 => bytes.truncate(at),
            _ => {
                let copy = bytes[at.min(end)..end].to_vec();
                bytes.splice(at.min(end)..at.min(end), copy);
            }
        }
    }
    bytes
}
