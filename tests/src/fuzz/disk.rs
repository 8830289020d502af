//! What a damaged disk may hold.

use liaison_client::records::KINDS;
use liaison_node::store::testing::{Row, whole_bytes};

/// The first byte says which part of a row the rest is.
pub(super) fn rows(input: &[u8]) {
    let [which, bytes @ ..] = input else { return };
    let row = Row::ALL[usize::from(*which) % Row::ALL.len()];
    let Some(written) = row.rewritten(bytes) else { return };
    assert_eq!(row.rewritten(&written).as_ref(), Some(&written), "what is read can be written and read again");
}

/// The first byte says which kind of the daemon's records the rest is.
pub(super) fn records(input: &[u8]) {
    let [which, bytes @ ..] = input else { return };
    let kind = KINDS[usize::from(*which) % KINDS.len()];
    let Some(written) = kind.rewritten(bytes) else { return };
    assert_eq!(written, bytes, "{}: two byte strings are never the same record", kind.name);
}

pub(super) fn journal(bytes: &[u8]) {
    let Some((whole, damaged)) = whole_bytes(bytes) else { return };
    let length = usize::try_from(whole).expect("it is in memory");
    assert!(length <= bytes.len(), "no batch ends behind the end");
    assert_eq!(whole_bytes(&bytes[..length]), Some((whole, false)), "whole batches stay whole without what follows");
    assert!(!damaged || length < bytes.len(), "damage is behind them");
}
