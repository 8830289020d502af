//! Opening: for whom it works, and everything that thieves, forwarders and bad senders try.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::codec;
use crate::envelope::padding::padded_len;
use crate::envelope::{Envelope, Wrap, verify};
use crate::hash::Hash;
use crate::ids::NodeId;
use crate::inner::Content;
use crate::limits;
use crate::precedence::Precedence;
use crate::seal::{SealError, SealRequest, seal};
use crate::testing::mail::{CREATED, FEDERATION, Mail, agency, content, resigned};
use crate::testing::rng;

fn open_as(mail: &Mail, envelope: &VerifiedEnvelope, name: &str) -> Result<Inner, OpenError> {
    open(envelope, &agency(name), mail.prekey(name)).map(|opened| opened.inner)
}

/// The envelope as a recipient gets it: bytes that pass every check of a relay.
fn received(mail: &Mail, envelope: &VerifiedEnvelope) -> VerifiedEnvelope {
    verify(Envelope::decode(envelope.encoded()).unwrap(), &FEDERATION, mail).unwrap()
}

#[test]
fn every_recipient_opens_it_and_nobody_else() {
    let mail = Mail::new();
    let sealed = mail.sealed(&["ncb.fr", "ncb.ee"]);
    let envelope = received(&mail, &sealed.envelope);
    for name in ["ncb.ee", "ncb.fr"] {
        let opened = open(&envelope, &agency(name), mail.prekey(name)).unwrap();
        assert_eq!(opened.inner.content, content("meeting at noon"));
        assert_eq!(opened.inner.recipients, [agency("ncb.ee"), agency("ncb.fr")]);
        assert_eq!(opened.content_key.as_bytes(), sealed.content_key.as_bytes());
    }
    assert_eq!(open_as(&mail, &envelope, "ncb.sg").unwrap_err(), OpenError::NotForMe);
    let lost = open(&envelope, &agency("ncb.ee"), mail.prekey("ncb.fr")).err().unwrap();
    assert_eq!(lost.reason(), RefusalReason::KeyUnavailable);
}

#[test]
fn the_content_key_alone_opens_one_message_to_a_third_party() {
    let mail = Mail::new();
    let sealed = mail.sealed(&["ncb.ee"]);
    let inner = open_with_key(&sealed.envelope, &sealed.content_key).unwrap();
    assert_eq!(inner.content, content("meeting at noon"));
    let other = mail.draft(&["ncb.ee"]);
    assert_eq!(open_with_key(&sealed.envelope, &other.content_key).unwrap_err(), OpenError::BadWrap);
}

// Attack 1: below the signature too, with a sender who signs what he bent.
#[test]
fn a_flipped_byte_of_wrap_body_or_commitment_never_opens() {
    let mail = Mail::new();
    let good = mail.sealed(&["ncb.ee"]).envelope;
    let wrap = good.envelope().wraps[0].bytes().to_vec();
    for index in 0..limits::WRAP_BYTES {
        let mut bent = wrap.clone();
        bent[index] ^= 1;
        let wraps = vec![Wrap::new(0, bent.into()).unwrap()];
        let bent = resigned(&mail, good.header().clone(), wraps, good.envelope().body.clone());
        assert_eq!(open_as(&mail, &bent, "ncb.ee").unwrap_err(), OpenError::BadWrap, "wrap byte {index}");
    }
    for index in 0..good.envelope().body.len() {
        let mut bent = good.envelope().body.to_vec();
        bent[index] ^= 0x80;
        let bent = resigned(&mail, good.header().clone(), good.envelope().wraps.clone(), bent.into());
        assert_eq!(open_as(&mail, &bent, "ncb.ee").unwrap_err(), OpenError::BadWrap, "body byte {index}");
    }
    for index in 0..32 {
        let mut header = good.header().clone();
        header.commit.0[index] ^= 1;
        let bent = resigned(&mail, header, good.envelope().wraps.clone(), good.envelope().body.clone());
        assert_eq!(open_as(&mail, &bent, "ncb.ee").unwrap_err(), OpenError::BadWrap, "commit byte {index}");
    }
}

// Attack 72, [SEAL-4]: by its code and by its work, whatever fails looks the same, and like what opens.
#[test]
fn whatever_fails_to_open_has_done_the_work_of_what_opens() {
    use crate::envelope::work;

    let mail = Mail::new();
    let good = mail.sealed(&["ncb.ee"]).envelope;
    let bent_wrap = |index: usize| {
        let mut wrap = good.envelope().wraps[0].bytes().to_vec();
        wrap[index] ^= 1;
        resigned(&mail, good.header().clone(), vec![Wrap::new(0, wrap.into()).unwrap()], good.envelope().body.clone())
    };
    let mut small_order = good.envelope().wraps[0].bytes().to_vec();
    small_order[limits::ENC_BYTES - 32..limits::ENC_BYTES].fill(0);
    let small_order = vec![Wrap::new(0, small_order.into()).unwrap()];
    let small_order = resigned(&mail, good.header().clone(), small_order, good.envelope().body.clone());
    let mut header = good.header().clone();
    header.commit.0[0] ^= 1;
    let commitment = resigned(&mail, header, good.envelope().wraps.clone(), good.envelope().body.clone());
    let mut body = good.envelope().body.to_vec();
    body[0] ^= 1;
    let tag = resigned(&mail, good.header().clone(), good.envelope().wraps.clone(), body.into());

    let work = |envelope: &VerifiedEnvelope| {
        drop(work::take());
        let opened = open_as(&mail, envelope, "ncb.ee");
        (opened.err().map(|error| error.to_string()), work::take())
    };
    let (none, whole) = work(&good);
    assert_eq!((none, whole.len()), (None, 3));
    for bad in [bent_wrap(0), bent_wrap(limits::WRAP_BYTES - 1), small_order, commitment, tag] {
        assert_eq!(work(&bad), (Some("it does not open".into()), whole.clone()));
    }
}

// A body under the key that stands in for one that does not come out of the wrap is no message either.
#[test]
fn nothing_opens_under_the_key_that_stands_in_for_a_wrap_that_does_not_open() {
    let mail = Mail::new();
    let mut draft = mail.draft(&["ncb.ee"]);
    draft.content_key = ContentKey::none();
    draft.header.commit = BodyKeys::derive(&draft.header, &draft.content_key).commit();
    let made = draft.finish(&mail);
    assert!(open_with_key(&made, &ContentKey::none()).is_ok());
    let mut wrap = made.envelope().wraps[0].bytes().to_vec();
    wrap[limits::WRAP_BYTES - 1] ^= 1;
    let wraps = vec![Wrap::new(0, wrap.into()).unwrap()];
    let bent = resigned(&mail, made.header().clone(), wraps, made.envelope().body.clone());
    assert_eq!(open_as(&mail, &bent, "ncb.ee").unwrap_err(), OpenError::BadWrap);
}

// Attack 11.
#[test]
fn a_thief_who_signs_anothers_wraps_and_body_as_his_own_gets_bad_wrap() {
    let mail = Mail::new();
    let stolen = mail.sealed(&["ncb.ee"]).envelope;
    let mut header = stolen.header().clone();
    header.sender = "ncb.fr".parse().unwrap();
    header.sender_key = mail.key("ncb.fr").verifying_key().key_id();
    let envelope = stolen.into_envelope();
    let theft = received(&mail, &resigned(&mail, header, envelope.wraps, envelope.body));
    let refused = open_as(&mail, &theft, "ncb.ee").unwrap_err();
    assert_eq!(refused.reason(), RefusalReason::BadWrap);
    assert_eq!(theft.header().sender.as_str(), "ncb.fr", "the refusal names the thief");
}

// Attack 12.
#[test]
fn a_recipient_can_not_pass_a_message_on_as_if_it_had_been_written_to_a_third_party() {
    let mail = Mail::new();
    let original = mail.sealed(&["ncb.ee"]);
    assert_eq!(open_as(&mail, &original.envelope, "ncb.fr").unwrap_err().reason(), RefusalReason::UnknownRecipient);

    // ncb.ee seals the words of ncb.sg to ncb.fr, under its own header: no other could it sign.
    let mut draft = mail.draft(&["ncb.fr"]);
    draft.header.sender = "ncb.ee".parse().unwrap();
    draft.header.sender_key = mail.key("ncb.ee").verifying_key().key_id();
    draft.header.commit = BodyKeys::derive(&draft.header, &draft.content_key).commit();
    draft.inner = open_as(&mail, &original.envelope, "ncb.ee").unwrap();
    let forwarded = received(&mail, &draft.finish(&mail));
    assert_eq!(open_as(&mail, &forwarded, "ncb.fr").unwrap_err(), OpenError::InnerMismatch { field: "sender" });
}

// Attack 13.
#[test]
fn a_stripped_wrap_hurts_only_the_recipient_whose_it_was() {
    let mail = Mail::new();
    let envelope = received(&mail, &mail.sealed(&["ncb.ee", "ncb.fr"]).envelope.prune(&[1]));
    assert_eq!(open_as(&mail, &envelope, "ncb.ee").unwrap_err(), OpenError::BadWrap);
    assert!(open_as(&mail, &envelope, "ncb.fr").is_ok());
}

// Attack 15, [SEAL-2]: whatever body one could make that opens under two keys, one of them is not committed to.
#[test]
fn a_second_content_key_fails_the_commitment_before_the_body_is_touched() {
    let mail = Mail::new();
    let mut draft = mail.draft(&["ncb.ee", "ncb.fr"]);
    draft.wrap_keys.insert(1, ContentKey::generate(&mut rng(77)));
    let envelope = received(&mail, &draft.finish(&mail));
    assert!(open_as(&mail, &envelope, "ncb.ee").is_ok());
    assert_eq!(open_as(&mail, &envelope, "ncb.fr").unwrap_err(), OpenError::BadWrap);

    // The body is rightly sealed, and only the commitment is another key's.
    let mut draft = mail.draft(&["ncb.ee"]);
    draft.header.commit = Hash([1; 32]);
    let envelope = received(&mail, &draft.finish(&mail));
    assert_eq!(open_as(&mail, &envelope, "ncb.ee").unwrap_err(), OpenError::BadWrap);
}

// Attack 18, [PAD-1], [SEAL-4].
#[test]
fn padding_that_is_not_exactly_right_fails_like_everything_else() {
    let mail = Mail::new();
    let plain = codec::encode(&mail.draft(&["ncb.ee"]).inner);
    let good = padding::pad(&plain).unwrap().to_vec();
    let refused = |padded: &[u8]| {
        let envelope = received(&mail, &mail.draft(&["ncb.ee"]).finish_with(&mail, padded));
        open_as(&mail, &envelope, "ncb.ee").map(|_| ())
    };
    assert_eq!(refused(&good), Ok(()));
    let with = |index: usize, byte: u8| {
        let mut padded = good.clone();
        padded[index] = byte;
        padded
    };
    let longer = [good.as_slice(), &[0; 32]].concat();
    assert_eq!(longer.len(), padded_len(530), "a length that padding can give, for another message");
    let bad = [with(plain.len(), 0), with(plain.len(), 0x40), with(511, 1), vec![0; 512], longer];
    for padded in bad {
        assert_eq!(refused(&padded), Err(OpenError::BadWrap));
    }
}

// Attack 18: shorter than it must be.
#[test]
fn a_message_that_fills_its_padded_length_to_the_last_byte_does_not_open() {
    let mail = Mail::new();
    let mut draft = mail.draft(&["ncb.ee"]);
    draft.inner.content = content(&"x".repeat(600));
    let mut padded = codec::encode(&draft.inner);
    while !padding::is_padded_len(padded.len()) {
        padded.push(b'x');
    }
    let envelope = received(&mail, &draft.finish_with(&mail, &padded));
    assert_eq!(open_as(&mail, &envelope, "ncb.ee").unwrap_err(), OpenError::BadWrap);
}

// Attack 19, [INNER-1].
#[test]
fn what_stands_inside_must_be_what_stands_outside() {
    let mail = Mail::new();
    let refused = |bend: &dyn Fn(&mut Inner)| {
        let mut draft = mail.draft(&["ncb.ee"]);
        bend(&mut draft.inner);
        open_as(&mail, &received(&mail, &draft.finish(&mail)), "ncb.ee").map(|_| ())
    };
    let mismatch = |field| Err(OpenError::InnerMismatch { field });
    assert_eq!(refused(&|_| {}), Ok(()));
    assert_eq!(refused(&|inner| inner.created = CREATED.after(Duration::from_millis(1))), mismatch("created"));
    assert_eq!(refused(&|inner| inner.sender = NodeId::from(agency("ncb.fr"))), mismatch("sender"));
    assert_eq!(refused(&|inner| inner.recipients.clear()), mismatch("recipients"));
    assert_eq!(refused(&|inner| inner.recipients.push(agency("ncb.fr"))), mismatch("recipients"));
    assert_eq!(refused(&|inner| inner.recipients = vec![agency("ncb.fr")]), mismatch("recipients"));
    assert!(matches!(refused(&|inner| inner.version = 2), Err(OpenError::Malformed(_))));
}

// [INNER-2]
#[test]
fn content_that_breaks_a_rule_is_neither_sealed_nor_opened() {
    let mail = Mail::new();
    let content = |bend: &dyn Fn(&mut crate::inner::Message)| {
        let Content::Message(mut message) = content("x") else { panic!("a message") };
        bend(&mut message);
        Content::Message(message)
    };
    for bad in [
        content(&|m| m.info = vec![agency("ncb.fr")]),
        content(&|m| m.info = vec![agency("ncb.ee"), agency("ncb.ee")]),
        content(&|m| m.subject = "s".repeat(1025)),
        content(&|m| m.handling = vec![String::new()]),
        content(&|m| m.handling = vec!["h".repeat(65)]),
        content(&|m| m.handling = vec!["h".into(); 33]),
        Content::Receipts(Vec::new()),
    ] {
        let mut draft = mail.draft(&["ncb.ee"]);
        draft.inner.content = bad.clone();
        let opened = open_as(&mail, &draft.finish(&mail), "ncb.ee");
        assert!(matches!(opened, Err(OpenError::Malformed(_))), "{bad:?}");
        assert!(matches!(seal_content(&mail, &bad), Err(SealError::Content(_))), "{bad:?}");
    }
    assert!(seal_content(&mail, &content(&|m| m.info = vec![agency("ncb.ee")])).is_ok());
}

fn seal_content(mail: &Mail, content: &Content) -> Result<VerifiedEnvelope, SealError> {
    let recipients = mail.recipients(&["ncb.ee"]);
    let request = SealRequest {
        federation: FEDERATION,
        sender: &"ncb.sg".parse().unwrap(),
        recipients: &recipients,
        created: CREATED,
        expires: CREATED,
        precedence: Precedence::Flash,
        content,
    };
    seal(&request, mail.key("ncb.sg"), &mut rng(4)).map(|sealed| sealed.envelope)
}

#[test]
fn no_recipient_the_same_one_twice_and_too_much_text_are_not_sealed() {
    let mail = Mail::new();
    let sender = "ncb.sg".parse().unwrap();
    let small = content("x");
    let request = |recipients| SealRequest {
        federation: FEDERATION,
        sender: &sender,
        recipients,
        created: CREATED,
        expires: CREATED,
        precedence: Precedence::Flash,
        content: &small,
    };
    let twice = mail.recipients(&["ncb.ee", "ncb.ee"]);
    for recipients in [&[][..], &twice] {
        let refused = seal(&request(recipients), mail.key("ncb.sg"), &mut rng(4));
        assert!(matches!(refused.err(), Some(SealError::Header(_))));
    }
    let fits = content(&"x".repeat(1_048_400));
    assert!(seal_content(&mail, &fits).is_ok());
    let too_long = content(&"x".repeat(1_048_576));
    assert!(matches!(seal_content(&mail, &too_long), Err(SealError::TooLong { .. })));
}

#[test]
fn sealing_twice_gives_two_messages_that_share_nothing() {
    let mail = Mail::new();
    let recipients = mail.recipients(&["ncb.ee"]);
    let request = SealRequest {
        federation: FEDERATION,
        sender: &"ncb.sg".parse().unwrap(),
        recipients: &recipients,
        created: CREATED,
        expires: CREATED,
        precedence: Precedence::Flash,
        content: &content("x"),
    };
    let rng = &mut rng(5);
    let [one, two] = [(); 2].map(|()| seal(&request, mail.key("ncb.sg"), rng).unwrap());
    assert_ne!(one.envelope.id(), two.envelope.id());
    assert_ne!(one.content_key.as_bytes(), two.content_key.as_bytes());
    assert_ne!(one.envelope.header().nonce, two.envelope.header().nonce);
    assert_ne!(one.envelope.envelope().body, two.envelope.envelope().body);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_text_of_any_length_opens_as_it_was_sealed(text in "\\PC{0,2000}", subject in "\\PC{0,100}") {
        let mail = Mail::new();
        let Content::Message(mut message) = content(&text) else { panic!("a message") };
        message.subject = subject;
        let content = Content::Message(message);
        let envelope = received(&mail, &seal_content(&mail, &content).unwrap());
        prop_assert_eq!(open_as(&mail, &envelope, "ncb.ee").unwrap().content, content);
    }

    #[test]
    fn arbitrary_plaintext_under_a_right_seal_never_panics(plain in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mail = Mail::new();
        let padded = padding::pad(&plain).unwrap();
        let envelope = mail.draft(&["ncb.ee"]).finish_with(&mail, &padded);
        prop_assert!(open_as(&mail, &envelope, "ncb.ee").is_err());
    }
}
