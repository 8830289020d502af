//! The container: a ZIP in one canonical form, which `unzip` reads and which hides nothing.
//!
//! Stored, not compressed; no dates, attributes, extra fields or comments; entries in the order of their names after
//! the first. A reader takes the entries one after another, writes the archive that they give, and compares all
//! bytes: so what two ZIP readers could see differently (a second directory, bytes between entries, one name twice,
//! two sizes of one file) cannot be there. General ZIP libraries accept such archives; therefore none is used.
//! Layout: PKWARE APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.

use bytes::Bytes;

/// An archive at most.
pub const ARCHIVE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Entries at most: a receipt for each of 1,024 recipients, thrice, and the rest.
pub const ENTRIES_MAX: usize = 4096;
/// Bytes of a name at most.
const NAME_BYTES_MAX: usize = 100;

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const LOCAL_BYTES: usize = 30;
const CENTRAL_BYTES: usize = 46;
const END_BYTES: usize = 22;
/// Version 1.0 of the format is all that stored files need.
const VERSION_NEEDED: u16 = 10;
/// 1980-01-01, the first date that the format can hold.
const NO_DATE: u16 = 0x21;

/// A file in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) data: Bytes,
}

/// Why bytes are not an archive in our form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// A name that could leave the folder into which it is unpacked, or stands twice, or out of order.
    #[error("the archive holds a file name that is not allowed: '{name}'")]
    Name {
        /// The name, as far as it is readable.
        name: String,
    },
    /// Compressed, truncated, padded, or written by another program.
    #[error("not an evidence archive in canonical form (stored, without anything before, between or after)")]
    NotCanonical,
    /// Larger than [`ARCHIVE_BYTES_MAX`].
    #[error("an evidence archive has at most 256 MiB, this one has {bytes} bytes")]
    TooLong {
        /// How many bytes.
        bytes: usize,
    },
    /// More than [`ENTRIES_MAX`].
    #[error("an evidence archive has at most {ENTRIES_MAX} files")]
    TooMany,
}

/// Bytes that [`write`] gives.
pub(super) fn size(entries: &[Entry]) -> usize {
    let entry = |entry: &Entry| entry.data.len() + 2 * entry.name.len() + LOCAL_BYTES + CENTRAL_BYTES;
    entries.iter().map(entry).sum::<usize>() + END_BYTES
}

/// Writes the archive. Names, their order and the size have been checked.
pub(super) fn write(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(size(entries));
    let mut directory = Vec::new();
    for entry in entries {
        let offset = out.len() as u32;
        let facts = facts(entry);
        push32(&mut out, LOCAL);
        out.extend_from_slice(&facts);
        out.extend_from_slice(entry.name.as_bytes());
        out.extend_from_slice(&entry.data);

        push32(&mut directory, CENTRAL);
        push16(&mut directory, VERSION_NEEDED);
        directory.extend_from_slice(&facts);
        // Comment length, disk, internal attributes; external attributes.
        directory.extend_from_slice(&[0; 2 + 2 + 2 + 4]);
        push32(&mut directory, offset);
        directory.extend_from_slice(entry.name.as_bytes());
    }
    let (start, length, count) = (out.len() as u32, directory.len() as u32, entries.len() as u16);
    out.append(&mut directory);
    push32(&mut out, END);
    push32(&mut out, 0); // This disk, and the directory's.
    push16(&mut out, count);
    push16(&mut out, count);
    push32(&mut out, length);
    push32(&mut out, start);
    push16(&mut out, 0);
    out
}

/// What local header and directory say alike: version, flags, method, time, date, CRC, sizes, name and extra length.
fn facts(entry: &Entry) -> Vec<u8> {
    let (size, mut out) = (entry.data.len() as u32, Vec::with_capacity(26));
    push16(&mut out, VERSION_NEEDED);
    out.extend_from_slice(&[0; 2 + 2 + 2]);
    push16(&mut out, NO_DATE);
    push32(&mut out, crc32(&entry.data));
    push32(&mut out, size);
    push32(&mut out, size);
    push16(&mut out, entry.name.len() as u16);
    push16(&mut out, 0);
    out
}

/// [EVID-1] Reads an archive; the entries are slices of `bytes`. Nothing is copied or unpacked, so that no bomb goes off.
pub(super) fn read(bytes: &Bytes) -> Result<Vec<Entry>, ArchiveError> {
    if bytes.len() > ARCHIVE_BYTES_MAX {
        return Err(ArchiveError::TooLong { bytes: bytes.len() });
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut at = 0;
    while read32(bytes, at) == Some(LOCAL) {
        if entries.len() == ENTRIES_MAX {
            return Err(ArchiveError::TooMany);
        }
        let entry = read_entry(bytes, at).ok_or(ArchiveError::NotCanonical)?;
        at += LOCAL_BYTES + entry.name.len() + entry.data.len();
        check_name(&entry.name, entries.last())?;
        entries.push(entry);
    }
    if write(&entries) == *bytes { Ok(entries) } else { Err(ArchiveError::NotCanonical) }
}

fn read_entry(bytes: &Bytes, at: usize) -> Option<Entry> {
    let size = read32(bytes, at + 18)? as usize;
    let name_start = at + LOCAL_BYTES;
    let name_end = name_start + usize::from(u16::from_le_bytes(*bytes.get(at + 26..)?.first_chunk()?));
    let data_end = name_end.checked_add(size).filter(|end| *end <= bytes.len())?;
    let name = String::from_utf8_lossy(bytes.get(name_start..name_end)?).into_owned();
    Some(Entry { name, data: bytes.slice(name_end..data_end) })
}

/// One or two parts of lower-case letters, digits, dots and hyphens, each beginning with a letter or digit.
fn check_name(name: &str, before: Option<&Entry>) -> Result<(), ArchiveError> {
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-'))
    };
    let shape = name.len() <= NAME_BYTES_MAX && name.split('/').count() <= 2 && name.split('/').all(is_part);
    let first = before.is_none() == (name == MANIFEST);
    let ascends = before.is_none_or(|before| before.name == MANIFEST || before.name.as_str() < name);
    if shape && first && ascends { Ok(()) } else { Err(ArchiveError::Name { name: name.chars().take(100).collect() }) }
}

/// The first entry.
pub(super) const MANIFEST: &str = "manifest.json";

fn push16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn push32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn read32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

/// CRC-32 of ISO-HDLC, which ZIP demands. It guards nothing here: the manifest's SHA-256 does.
fn crc32(data: &[u8]) -> u32 {
    const TABLE: [u32; 256] = crc_table();
    !data.iter().fold(u32::MAX, |crc, byte| {
        let [low, ..] = (crc ^ u32::from(*byte)).to_le_bytes();
        TABLE.get(usize::from(low)).copied().unwrap_or(0) ^ (crc >> 8)
    })
}

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let (mut crc, mut bit) = (index as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        #[expect(clippy::indexing_slicing, reason = "the loop ends at 256")]
        {
            table[index] = crc;
        }
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, data: &'static [u8]) -> Entry {
        Entry { name: name.into(), data: Bytes::from_static(data) }
    }

    fn sample() -> Vec<Entry> {
        vec![entry(MANIFEST, b"{}"), entry("a/1.bin", b"one"), entry("b.bin", b"")]
    }

    #[test]
    fn the_checksum_is_the_one_of_zip() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn an_archive_round_trips() {
        let bytes = Bytes::from(write(&sample()));
        assert_eq!(bytes.len(), size(&sample()));
        assert_eq!(read(&bytes), Ok(sample()));
    }

    // [EVID-1]
    #[test]
    fn every_other_form_is_refused() {
        let good = write(&sample());
        let refused = |bytes: Vec<u8>| read(&Bytes::from(bytes)).is_err();
        assert!((0..good.len()).all(|length| refused(good[..length].to_vec())));
        assert!(refused([&good[..], &[0]].concat()) && refused([&[0], &good[..]].concat()));
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 0x20;
            // A changed name or content is another archive, and then the checksum does not fit.
            assert!(refused(bad), "byte {position}");
        }
        let claims_four_gib = [&good[..18], &[0xff; 8], &good[26..]].concat();
        assert!(refused(claims_four_gib));
    }

    #[test]
    fn names_stay_in_their_folder_and_occur_once_in_order() {
        for bad in ["../x", "/x", "a/../x", "a//x", "a/b/c", ".x", "A", "a\\b", "con:", "ü", ""] {
            let entries = [entry(MANIFEST, b""), entry(bad, b"")];
            let refused = read(&Bytes::from(write(&entries)));
            assert!(matches!(refused, Err(ArchiveError::Name { .. })), "{bad}");
        }
        let orders = [
            vec![entry("a", b"")],
            vec![entry("a", b""), entry(MANIFEST, b"")],
            vec![entry(MANIFEST, b""), entry(MANIFEST, b"")],
            vec![entry(MANIFEST, b""), entry("b", b""), entry("a", b"")],
            vec![entry(MANIFEST, b""), entry("a", b"1"), entry("a", b"2")],
        ];
        for entries in orders {
            assert!(matches!(read(&Bytes::from(write(&entries))), Err(ArchiveError::Name { .. })));
        }
        let many: Vec<Entry> = (0..=ENTRIES_MAX).map(|index| entry(&format!("{index:05}"), b"")).collect();
        let many = [vec![entry(MANIFEST, b"")], many].concat();
        assert_eq!(read(&Bytes::from(write(&many))), Err(ArchiveError::TooMany));
    }
}
