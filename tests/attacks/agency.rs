//! An agency that lies to its own home relay.

use std::time::Duration;

use liaison_node::clock;
use liaison_protocol::envelope::Envelope;
use liaison_protocol::{Precedence, RefusalReason, SigningKey};
use liaison_tests::fed::Federation;
use liaison_tests::keys::signing_key;

use crate::forge::{self, Draft};
use crate::hostile::{Hostile, Parcel};
use crate::shared::{copies, only_the_good_one_arrives, victims};

/// An agency with its own keys, and a link to its home relay.
struct Liar {
    hostile: Hostile,
    name: &'static str,
    signer: SigningKey,
}

impl Liar {
    fn connect(fed: &Federation, name: &'static str) -> Self {
        let home = fed.files().agencies.iter().find(|agency| agency.id.as_str() == name).unwrap().home[0].clone();
        let mut hostile = Hostile::as_node(fed.files(), name);
        hostile.connect(fed.files(), home.as_str());
        Self { hostile, name, signer: signing_key(fed.files(), name) }
    }

    /// A good envelope of this agency.
    fn envelope(&mut self, fed: &Federation, to: &[&str], draft: &Draft) -> Envelope {
        let keys = self.hostile.prekeys(to);
        forge::envelope(fed.files().roster().unwrap().federation(), self.name, &self.signer, &keys, draft)
    }

    /// Hands over `good` and looks that it is taken: the link is as it was.
    fn hand_over_good(&mut self, good: &Envelope) {
        let ack = self.hostile.hand_over(&Parcel::of(good));
        assert_eq!((ack.taken.as_slice(), ack.refused.len()), (&[0][..], 0), "{ack:?}");
    }
}

#[test]
fn forged_and_tampered_envelopes_are_refused_and_the_untouched_one_passes() {
    let fed = victims();
    let mut liar = Liar::connect(&fed, "ncb.sg");
    let good = liar.envelope(&fed, &["ncb.ee"], &Draft::now());
    let header = forge::with_tampered_header(&good);
    let attacks = [
        (forge::with_forged_signature(&good), RefusalReason::BadSignature),
        (forge::with_tampered_body(&good), RefusalReason::BadSignature),
        (header.clone(), RefusalReason::BadSignature),
        (good.prune(&[]), RefusalReason::BadWrap),
    ];
    for (envelope, reason) in &attacks {
        assert_eq!(liar.hostile.refused(&Parcel::of(envelope)), [(0, *reason)]);
    }
    liar.hand_over_good(&good);
    only_the_good_one_arrives(&fed, "ncb.ee", &good, &[&header]);
}

#[test]
fn swapped_wraps_are_refused_and_a_stripped_one_costs_only_its_recipient() {
    let fed = victims();
    let mut liar = Liar::connect(&fed, "ncb.jp");
    let good = liar.envelope(&fed, &["ncb.ee", "ncb.fr"], &Draft::now());
    let both = |envelope: &Envelope| Parcel { branch: vec![0, 1], ..Parcel::of(envelope) };
    let swapped = liar.hostile.refused(&both(&forge::with_swapped_wraps(&good)));
    assert_eq!(swapped, [(0, RefusalReason::BadWrap), (1, RefusalReason::BadWrap)]);
    let ack = liar.hostile.hand_over(&both(&good.prune(&[0])));
    let refused: Vec<_> = ack.refused.iter().map(|refused| (refused.index, refused.reason)).collect();
    assert_eq!((ack.taken.as_slice(), refused), (&[0][..], vec![(1, RefusalReason::BadWrap.code())]));
    only_the_good_one_arrives(&fed, "ncb.ee", &good, &[]);
    assert_eq!(copies(&fed, "ncb.fr", &good), 0);
}

#[test]
fn a_replayed_envelope_is_acknowledged_as_a_duplicate_and_arrives_once() {
    let fed = victims();
    let mut liar = Liar::connect(&fed, "ncb.de");
    let good = liar.envelope(&fed, &["ncb.ee"], &Draft::now());
    liar.hand_over_good(&good);
    only_the_good_one_arrives(&fed, "ncb.ee", &good, &[]);
    for _ in 0..20 {
        let ack = liar.hostile.hand_over(&Parcel::of(&good));
        // Still held until the next holder's acknowledgement is on disk; has passed from then on.
        assert_eq!([ack.taken, ack.duplicate].concat(), [0]);
        assert!(ack.refused.is_empty());
    }
    // Later attempts travel again, and end at the inbox.
    for attempt in 2..=16 {
        let ack = liar.hostile.hand_over(&Parcel { attempt, ..Parcel::of(&good) });
        assert_eq!([ack.taken, ack.duplicate].concat(), [0]);
    }
    let last = liar.envelope(&fed, &["ncb.ee"], &Draft::now());
    liar.hand_over_good(&last);
    only_the_good_one_arrives(&fed, "ncb.ee", &last, &[]);
    assert_eq!(copies(&fed, "ncb.ee", &good), 1);
}

#[test]
fn another_agencys_envelope_is_refused_though_its_signature_is_good() {
    let fed = victims();
    let mut liar = Liar::connect(&fed, "ncb.ke");
    let keys = liar.hostile.prekeys(&["ncb.ee"]);
    let theirs = signing_key(fed.files(), "ncb.br");
    let federation = fed.files().roster().unwrap().federation();
    let stolen = forge::envelope(federation, "ncb.br", &theirs, &keys, &Draft::now());
    assert_eq!(liar.hostile.refused(&Parcel::of(&stolen)), [(0, RefusalReason::UnknownSender)]);
    // In another's name with one's own key, which is not that name's.
    let posed = forge::envelope(federation, "ncb.br", &liar.signer, &keys, &Draft::now());
    assert_eq!(liar.hostile.refused(&Parcel::of(&posed)), [(0, RefusalReason::UnknownSender)]);
    let own = liar.envelope(&fed, &["ncb.ee"], &Draft::now());
    liar.hand_over_good(&own);
    only_the_good_one_arrives(&fed, "ncb.ee", &own, &[&stolen, &posed]);
}

#[test]
fn envelopes_of_other_times_federations_and_recipients_are_refused() {
    let fed = victims();
    let mut liar = Liar::connect(&fed, "ncb.br");
    let now = clock::now();
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let early = Draft { created: now.after(minutes(6)), expires: now.after(minutes(60)), ..Draft::now() };
    let early = liar.envelope(&fed, &["ncb.ee"], &early);
    // Not older than its sender's key, which is new.
    let late = Draft { created: now, expires: now.after(Duration::from_millis(1)), ..Draft::now() };
    let late = liar.envelope(&fed, &["ncb.ee"], &late);
    let keys = liar.hostile.prekeys(&["ncb.ee"]);
    let other = liaison_protocol::FederationId([9; 16]);
    let foreign = forge::envelope(other, "ncb.br", &liar.signer, &keys, &Draft::now());
    let nobody = vec![("ncb.zz".parse().unwrap(), keys[0].1.clone())];
    let federation = fed.files().roster().unwrap().federation();
    let nowhere = forge::envelope(federation, "ncb.br", &liar.signer, &nobody, &Draft::now());
    std::thread::sleep(Duration::from_millis(50));
    for (envelope, reason) in [
        (&late, RefusalReason::Expired),
        (&foreign, RefusalReason::UnknownSender),
        (&nowhere, RefusalReason::UnknownRecipient),
    ] {
        assert_eq!(liar.hostile.refused(&Parcel::of(envelope)), [(0, reason)]);
    }
    // The relay's own clock may be the one that is wrong: the sender tries again, and by another home relay.
    assert_eq!(liar.hostile.refused_for_now(&Parcel::of(&early)), [(0, RefusalReason::Clock)]);
    // Four minutes are within what clocks may differ.
    let soon = Draft { created: now.after(minutes(4)), expires: now.after(minutes(60)), ..Draft::now() };
    let soon = liar.envelope(&fed, &["ncb.ee"], &soon);
    liar.hand_over_good(&soon);
    only_the_good_one_arrives(&fed, "ncb.ee", &soon, &[&early, &late, &foreign]);
}

#[test]
fn a_recipient_that_the_header_does_not_name_cannot_be_asked_for() {
    let fed = victims();
    let mut liar = Liar::connect(&fed, "ncb.au");
    let good = liar.envelope(&fed, &["ncb.ee"], &Draft::precedence(Precedence::Priority));
    let ack = liar.hostile.hand_over(&Parcel { branch: vec![0, 1], rank: 2, ..Parcel::of(&good) });
    assert!(ack.refused.iter().any(|refused| refused.reason == RefusalReason::Malformed.code()), "{ack:?}");
    assert!(!ack.taken.contains(&1), "{ack:?}");
}
