//! Domain separation: every hash, key and signature says what it is for (SPEC.md, "Labels").
//!
//! All labels are ASCII, start with `liaison/1 ` and end in a zero byte, so none is a prefix of another.

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &[u8] = concat!("liaison/1 ", $text, "\0").as_bytes();)*

        #[cfg(test)]
        const ALL: &[&[u8]] = &[$($name),*];
    };
}

labels! {
    /// Federation id.
    FEDERATION = "federation";
    /// Message id.
    ENVELOPE_ID = "envelope-id";
    /// Signature over an envelope.
    ENVELOPE_SIG = "envelope-sig";
    /// HPKE `info` of a wrap.
    WRAP = "wrap";
    /// Key that seals the body.
    BODY_KEY = "body-key";
    /// Key commitment.
    COMMIT = "commit";
    /// AAD of the body.
    BODY = "body";
    /// Key of one chunk of an attachment.
    CHUNK = "chunk";
    /// Id of a prekey.
    PREKEY = "prekey";
    /// Signature over a prekey bundle.
    PREKEYS = "prekeys";
    /// Id of a signing key.
    KEY = "key";
    /// Leaf of a custody receipt's tree.
    CUSTODY_LEAF = "custody-leaf";
    /// Leaf of a delivery receipt's tree.
    DELIVERY_LEAF = "delivery-leaf";
    /// Signature over a receipt.
    RECEIPT_SIG = "receipt-sig";
    /// Additional data of a key file.
    KEYFILE = "keyfile";
    /// Signature over a roster: the composite's context, without the zero byte.
    ROSTER = "roster";
    /// An entry in a tally of what went from one relay to another.
    TALLY = "tally";
    /// Records that a daemon keeps encrypted at rest.
    AT_REST = "at-rest";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_label_is_a_prefix_of_another() {
        for (i, a) in ALL.iter().enumerate() {
            assert!(a.is_ascii() && a.ends_with(b"\0"));
            assert!(ALL.iter().enumerate().all(|(j, b)| i == j || !b.starts_with(a)));
        }
    }
}
