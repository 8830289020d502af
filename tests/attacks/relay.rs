//! A relay that lies: to other relays about what it lets through, to daemons about what it brings.

use certs_dev::{agree, disagree};
use liaison_protocol::precedence::Precedence;
use liaison_protocol::roster::Party;
use liaison_protocol::{RefusalReason, SigningKey};
use liaison_tests::fed::{Federation, Plan};
use liaison_tests::keys::signing_key;

use crate::forge::{self, Draft};
use crate::hostile::{Hostile, Parcel};
use crate::shared::{copies, only_the_good_one_arrives};

fn party(name: &str) -> Party {
    Party::Agency(name.parse().unwrap())
}

fn sealed(
    fed: &Federation,
    relay: &mut Hostile,
    sender: &str,
    signer: &SigningKey,
    to: &[&str],
    draft: &Draft,
) -> liaison_protocol::Envelope {
    let keys = relay.prekeys(to);
    forge::envelope(fed.files().roster().unwrap().federation(), sender, signer, &keys, draft)
}

#[test]
fn the_last_relay_refuses_what_a_lying_first_relay_lets_through() {
    let fed = Federation::make(&Plan::default());
    fed.files()
        .publish(|roster| {
            disagree(roster, &Party::Any, &Party::Any);
            agree(roster, party("ncb.sg"), party("ncb.ee"), Precedence::Priority);
        })
        .unwrap();
    ["eu-1", "ncb.ee", "ncb.fr"].into_iter().for_each(|node| fed.start_node(node));
    let mut relay = Hostile::as_node(fed.files(), "ap-1");
    relay.connect(fed.files(), "eu-1");
    let signer = signing_key(fed.files(), "ncb.sg");

    let above = sealed(&fed, &mut relay, "ncb.sg", &signer, &["ncb.ee"], &Draft::precedence(Precedence::Flash));
    assert_eq!(relay.refused(&Parcel { rank: 0, ..Parcel::of(&above) }), [(0, RefusalReason::NoAgreement)]);
    let without = sealed(&fed, &mut relay, "ncb.sg", &signer, &["ncb.fr"], &Draft::now());
    assert_eq!(relay.refused(&Parcel::of(&without)), [(0, RefusalReason::NoAgreement)]);

    let good = sealed(&fed, &mut relay, "ncb.sg", &signer, &["ncb.ee"], &Draft::now());
    let forged = [
        (forge::with_forged_signature(&good), RefusalReason::BadSignature),
        (forge::with_tampered_body(&good), RefusalReason::BadSignature),
        (good.prune(&[]), RefusalReason::BadWrap),
    ];
    for (envelope, reason) in &forged {
        assert_eq!(relay.refused(&Parcel::of(envelope)), [(0, *reason)]);
    }
    // It has been everywhere; and it has been there, and is for an agency of another region.
    let everywhere = ["af-1", "am-1", "oc-1", "ap-2", "ap-3", "ap-4", "ap-5", "ap-6"];
    let keys: Vec<_> =
        relay.prekeys(&["ncb.ee"]).into_iter().map(|(_, key)| ("ncb.sg".parse().unwrap(), key)).collect();
    let federation = fed.files().roster().unwrap().federation();
    let elsewhere = forge::envelope(federation, "ncb.sg", &signer, &keys, &Draft::now());
    for (path, envelope) in [(&everywhere[..], &good), (&["eu-1"], &elsewhere)] {
        let path = path.iter().map(|relay| relay.parse().unwrap()).collect();
        // Links and rosters change: the holder keeps the envelope and looks for another way.
        let parcel = Parcel { path, ..Parcel::of(envelope) };
        let ack = relay.hand_over(&parcel);
        assert!(ack.taken.is_empty() && ack.duplicate.is_empty(), "{ack:?}");
        assert_eq!(ack.refused.iter().map(|refused| refused.reason).collect::<Vec<_>>(), [RefusalReason::Loop.code()]);
    }
    let ack = relay.hand_over(&Parcel::of(&good));
    assert_eq!(ack.taken, [0], "{ack:?}");
    only_the_good_one_arrives(&fed, "ncb.ee", &good, &[&above]);
    assert!(fed.inbox("ncb.fr").is_empty());
}

#[test]
fn a_daemon_refuses_what_its_own_relay_forges_and_takes_a_replay_once() {
    let fed = Federation::make(&Plan { agencies: 2, ..Plan::default() });
    let mut relay = Hostile::in_place_of(fed.files(), "eu-1");
    fed.start_node("ncb.ee");
    relay.await_link("ncb.ee");
    let signer = signing_key(fed.files(), "ncb.sg");
    let good = sealed(&fed, &mut relay, "ncb.sg", &signer, &["ncb.ee"], &Draft::now());
    let header = forge::with_tampered_header(&good);
    let forged = [
        (forge::with_forged_signature(&good), RefusalReason::BadSignature),
        (forge::with_tampered_body(&good), RefusalReason::BadSignature),
        (header.clone(), RefusalReason::BadSignature),
        (good.prune(&[]), RefusalReason::BadWrap),
    ];
    for (envelope, reason) in &forged {
        assert_eq!(relay.refused(&Parcel::of(envelope)), [(0, *reason)]);
    }
    // Signed by the relay in the agency's name: it has the roster, and not the key.
    let own = signing_key(fed.files(), "eu-1");
    let posed = sealed(&fed, &mut relay, "ncb.sg", &own, &["ncb.ee"], &Draft::now());
    // [REF-2]
    assert_eq!(relay.refused_for_now(&Parcel::of(&posed)), [(0, RefusalReason::UnknownSender)]);
    assert!(fed.inbox("ncb.ee").is_empty());

    let ack = relay.hand_over(&Parcel::of(&good));
    assert_eq!(ack.taken, [0], "{ack:?}");
    for attempt in 1..=16 {
        let ack = relay.hand_over(&Parcel { attempt, ..Parcel::of(&good) });
        assert_eq!([ack.taken, ack.duplicate].concat(), [0]);
    }
    // The memory is on disk.
    fed.kill("ncb.ee");
    fed.start_node("ncb.ee");
    relay.await_link("ncb.ee");
    let ack = relay.hand_over(&Parcel { attempt: 16, ..Parcel::of(&good) });
    assert_eq!([ack.taken, ack.duplicate].concat(), [0]);
    assert_eq!(copies(&fed, "ncb.ee", &good), 1);
    only_the_good_one_arrives(&fed, "ncb.ee", &good, &[&header, &posed]);
}
