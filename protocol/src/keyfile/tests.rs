//! Key files, whole and planted.

use proptest::prelude::*;

use super::*;
use crate::testing::rng;

fn keys() -> Vec<KeyEntry> {
    let entry = |role, name: &str, bytes: &[u8]| KeyEntry {
        role,
        name: name.into(),
        secret: Secret::from_slice(bytes).unwrap(),
    };
    vec![entry(KeyRole::Signing, "ncb.ee", &[1; 32]), entry(KeyRole::Root, "root-1", &[2; 64])]
}

fn file() -> Vec<u8> {
    seal_keys(b"correct horse", &keys(), KdfCost::MINIMUM, &mut rng(1)).unwrap()
}

fn refused(bytes: &[u8]) -> KeyfileError {
    open_keys(b"correct horse", bytes).map(|_| ()).unwrap_err()
}

#[test]
fn the_passphrase_gives_the_keys_back() {
    let opened = open_keys(b"correct horse", &file()).unwrap();
    assert_eq!(opened.len(), 2);
    for (opened, sealed) in opened.iter().zip(keys()) {
        assert_eq!((opened.role, &opened.name), (sealed.role, &sealed.name));
        assert_eq!(opened.secret.as_bytes(), sealed.secret.as_bytes());
    }
    assert_eq!(opened[0].secret.seed().unwrap().as_ref(), [1; 32]);
    assert!(opened[1].secret.seed().is_none());
}

#[test]
fn neither_passphrase_nor_keys_stand_in_the_file() {
    let file = file();
    assert!(file.starts_with(b"LSNK\x01\x01\x00\x00\x20\x00\x00\x00\x00\x01\x01"));
    for secret in [b"correct horse".as_slice(), &[1; 32], &[2; 32], b"ncb.ee"] {
        assert!(!file.windows(secret.len()).any(|window| window == secret));
    }
}

// Attack 68.
#[test]
fn a_wrong_or_empty_passphrase_opens_nothing() {
    let wrong = |passphrase| open_keys(passphrase, &file()).map(|_| ()).unwrap_err();
    assert_eq!(wrong(b"Correct horse"), KeyfileError::WrongPassphrase);
    assert_eq!(wrong(b""), KeyfileError::EmptyPassphrase);
    let sealed = seal_keys(b"", &keys(), KdfCost::MINIMUM, &mut rng(1));
    assert_eq!(sealed, Err(KeyfileError::EmptyPassphrase));
}

// Attack 68, [FILE-1]: refused before anything is derived, so it takes no time and no memory.
#[test]
fn a_planted_file_cannot_ask_for_more_than_the_bounds() {
    let with = |at: usize, bytes: &[u8]| {
        let mut file = file();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        refused(&file)
    };
    let cost = |error| matches!(error, KeyfileError::Cost { .. });
    for memory_kib in [0, 1, 8 * 1024 - 1, 1024 * 1024 + 1, 1 << 31, u32::MAX] {
        assert!(cost(with(6, &memory_kib.to_be_bytes())), "{memory_kib}");
    }
    for passes in [0u32, 11, u32::MAX] {
        assert!(cost(with(10, &passes.to_be_bytes())), "{passes}");
    }
    for lanes in [0, 17, 255] {
        assert!(cost(with(14, &[lanes])), "{lanes}");
    }
    assert_eq!(with(0, b"X"), KeyfileError::NotAKeyfile);
    assert_eq!(with(4, &[2]), KeyfileError::NotAKeyfile);
    assert_eq!(refused(&vec![0; KEYFILE_BYTES_MAX + 1]), KeyfileError::NotAKeyfile);
}

#[test]
fn every_other_change_of_the_file_looks_like_a_wrong_passphrase() {
    let good = file();
    // Salt, nonce, and the sealed list with its tag; a cost within bounds gives another key.
    for index in [9, 15, 30, 31, 54, 55, good.len() - 1] {
        let mut bent = good.clone();
        bent[index] ^= 1;
        assert_eq!(refused(&bent), KeyfileError::WrongPassphrase, "byte {index}");
    }
    for length in [0, 5, 54] {
        assert_eq!(refused(&good[..length]), KeyfileError::NotAKeyfile);
    }
    for length in [55, 70, good.len() - 1] {
        assert_eq!(refused(&good[..length]), KeyfileError::WrongPassphrase);
    }
}

#[test]
fn a_secret_is_neither_empty_nor_long_and_a_file_holds_what_can_be_read_back() {
    assert!(Secret::from_slice(&[]).is_none());
    assert!(Secret::from_slice(&[0; 129]).is_none());
    let key = keys().remove(0);
    let named = KeyEntry { name: "n".repeat(65), ..key.clone() };
    for keys in [vec![key; 65], vec![named]] {
        let sealed = seal_keys(b"p", &keys, KdfCost::MINIMUM, &mut rng(1));
        assert!(matches!(sealed, Err(KeyfileError::Malformed(_))));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(open_keys(b"p", &bytes).is_err());
        let planted = [MAGIC.as_slice(), &bytes].concat();
        // Random costs are out of bounds all but never, and then this is only slow.
        prop_assert!(open_keys(b"p", &planted).is_err());
    }
}
