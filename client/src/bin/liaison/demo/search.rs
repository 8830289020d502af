//! Looks for words in files and folders, as somebody who has seized the disk would.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

const PIECE_BYTES: usize = 64 * 1024;
static ZEROS: [u8; PIECE_BYTES] = [0; PIECE_BYTES];

/// The first of `words` that is in any file at or below `places`, and the file.
pub(super) fn first_of<'w>(words: &[&'w str], places: &[&Path]) -> Result<Option<(&'w str, PathBuf)>, Failure> {
    let mut places: Vec<PathBuf> = places.iter().map(|place| (*place).to_owned()).collect();
    while let Some(place) = places.pop() {
        if place.is_dir() {
            // What is removed meanwhile needs no search.
            places.extend(std::fs::read_dir(&place).into_iter().flatten().flatten().map(|entry| entry.path()));
        } else if let Some(word) = in_file(words, &place)? {
            return Ok(Some((word, place)));
        }
    }
    Ok(None)
}

fn in_file<'w>(words: &[&'w str], path: &Path) -> Result<Option<&'w str>, Failure> {
    let failed = |error: std::io::Error| Failure::input(path, &error);
    let mut file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    let overlap = words.iter().map(|word| word.len()).max().unwrap_or(0);
    let mut window = Vec::new();
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        (&mut file).take(PIECE_BYTES as u64).read_to_end(&mut piece).map_err(failed)?;
        if piece.is_empty() {
            return Ok(None);
        }
        // Stores reserve room ahead: most of it is nothing at all.
        if ZEROS.get(..piece.len()) == Some(&piece) {
            window.clear();
            continue;
        }
        window.extend_from_slice(&piece);
        if let Some(word) = words.iter().find(|word| contains(&window, word.as_bytes())) {
            return Ok(Some(word));
        }
        window.drain(..window.len().saturating_sub(overlap));
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    let Some((first, _)) = word.split_first() else { return true };
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        let (_, found) = rest.split_at(at);
        if found.starts_with(word) {
            return true;
        }
        rest = found.get(1..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_wherever_it_lies() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        // Across two pieces, after a reserved one.
        let mut octets = vec![0; PIECE_BYTES];
        octets.extend(vec![b's'; PIECE_BYTES - 3]);
        octets.extend(b"secret");
        std::fs::write(deep.join("journal"), &octets).unwrap();
        let found = first_of(&["absent", "secret"], &[dir.path()]).unwrap().unwrap();
        assert_eq!(found, ("secret", deep.join("journal")));
        assert_eq!(first_of(&["absent"], &[dir.path()]).unwrap(), None);
    }
}
