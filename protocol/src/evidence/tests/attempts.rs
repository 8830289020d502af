//! Later envelopes of the same message.

use super::*;
use crate::inner::{Message, Supersedes};

/// The message of `story`, sealed anew a minute later, with what `change` does to it.
fn attempt(story: &Story, change: impl FnOnce(&mut Message)) -> (Sealed, Attempt) {
    let Content::Message(mut message) = content("meeting at noon") else { panic!("a message") };
    let first = story.sealed.envelope.id();
    message.chain = Some(Supersedes { first, previous: first, sent: CREATED });
    change(&mut message);
    let request = SealRequest {
        federation: story.federation.document.federation,
        sender: &node("ncb.sg"),
        recipients: &[(agency("ncb.ee"), PrekeySecret::generate(&mut rng(24)).public())],
        created: CREATED.after(60 * SECOND),
        expires: CREATED.after(7 * DAY),
        precedence: Precedence::Priority,
        content: &Content::Message(message),
    };
    let sealed = seal(&request, story.federation.key("ncb.sg"), &mut rng(25)).unwrap();
    let envelope = sealed.envelope.envelope();
    let attempt = Attempt {
        header: envelope.header.clone(),
        signature: envelope.signature.clone(),
        body: envelope.body.clone(),
        opening: ContentKey::from_slice(sealed.content_key.as_bytes()).unwrap(),
    };
    (sealed, attempt)
}

// [EVID-8]
#[test]
fn a_receipt_for_a_later_envelope_of_the_message_counts() {
    let mut story = Story::new();
    let (sealed, attempt) = attempt(&story, |_| {});
    let later = sealed.envelope.id();
    story.receipts = receipts(&story.federation, &later);
    // Without that envelope, nobody can tell that the receipts are about this message.
    assert!(matches!(story.verify(story.assemble()), Err(EvidenceError::OtherMessage { .. })));
    let attempts = [attempt];
    let bytes = story.assemble_with(|parts| parts.attempts = &attempts, Some("ncb.sg"));
    let verdict = story.verify(bytes).unwrap();
    assert_eq!(verdict.message, story.sealed.envelope.id());
    for fact in [
        Fact::Attempt { envelope: later },
        Fact::Delivered { recipient: agency("ncb.ee"), opened: true },
        Fact::Read { recipient: agency("ncb.ee") },
    ] {
        assert!(verdict.facts.contains(&fact), "{verdict}");
    }
    // Who holds the later envelope only knows the message by the same name.
    let later = &attempts[0];
    let bytes = story.assemble_with(
        |parts| {
            (parts.header, parts.signature) = (&later.header, &later.signature);
            (parts.body, parts.opening) = (Some(&later.body), Some(&later.opening));
            parts.bundles = &[];
        },
        None,
    );
    assert_eq!(story.verify(bytes).unwrap().message, story.sealed.envelope.id());
}

// [EVID-8]
#[test]
fn another_message_is_no_later_envelope() {
    let story = Story::new();
    let other = MessageId(Hash([7; 32]));
    let bends: [fn(&mut Message); 3] = [
        |message| message.text = "meeting at one".into(),
        |message| message.chain = None,
        |message| message.subject.push('!'),
    ];
    let mut attempts: Vec<Attempt> = bends.into_iter().map(|bend| attempt(&story, bend).1).collect();
    attempts.push(attempt(&story, |message| message.chain.as_mut().unwrap().first = other).1);
    for attempt in attempts {
        let bytes = story.assemble_with(|parts| parts.attempts = std::slice::from_ref(&attempt), None);
        assert!(matches!(story.verify(bytes), Err(EvidenceError::Attempt { .. })));
    }
    // One byte of any part.
    let bent = |bend: fn(&mut Attempt)| {
        let (_, mut attempt) = attempt(&story, |_| {});
        bend(&mut attempt);
        story.verify(story.assemble_with(|parts| parts.attempts = std::slice::from_ref(&attempt), None))
    };
    assert!(bent(|_| {}).is_ok());
    let bends: [fn(&mut Attempt); 4] = [
        |attempt| attempt.header = flipped(&attempt.header),
        |attempt| attempt.body = flipped(&attempt.body),
        |attempt| attempt.signature = Signature::ed25519([1; 64]),
        |attempt| attempt.opening = ContentKey::from_slice(&[1; 32]).unwrap(),
    ];
    for bend in bends {
        assert!(bent(bend).is_err());
    }
}

fn flipped(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes[40] ^= 1;
    bytes.into()
}
