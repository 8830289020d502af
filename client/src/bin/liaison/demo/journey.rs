//! 1: one message with an attachment, hop by hop.

use std::path::Path;

use liaison_client::api::model::{CustodyTrace, Hop, Id, MessageState, Precedence, Stage as HopStage};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::search;
use super::stage::{FAR_RELAY, NEAR_RELAY, RECIPIENTS, Stage, broken, check};
use crate::failure::Failure;

const SECTION: u8 = 1;
const ATTACHMENT: &str = "evidence.bin";
const ATTACHMENT_BYTES: usize = 3 * 1024 * 1024;
/// Words that nobody but the agencies may ever see.
const SUBJECT: &str = "Case 1142: sinkhole hits";
const TEXT: &str = "Two hosts in Tallinn answered at noon.";

pub(super) async fn play(stage: &mut Stage) -> Result<(), Failure> {
    stage.say.text("\n1. a message with an attachment, Singapore to Tallinn and Paris")?;
    let hash = make_attachment(&stage.federation.folder().join(ATTACHMENT))?;
    let submitted = stage.send(Precedence::Priority, &["-s", SUBJECT, "--body", TEXT, "-a", ATTACHMENT])?;
    let id = submitted.id.ok_or_else(|| broken("send named no id"))?;
    let trace = stage.traced(id, MessageState::Delivered).await?;
    show(stage, &trace)?;
    for agency in RECIPIENTS {
        arrived_whole(stage, agency, id, &hash).await?;
    }
    let line = format!("   attachment  {ATTACHMENT} 3.0 MiB, SHA-256 equal at both ends");
    stage.say.step(SECTION, "attachment", json!({ "bytes": ATTACHMENT_BYTES, "sha256": hash }), &line)?;
    sealed(stage)
}

fn make_attachment(path: &Path) -> Result<String, Failure> {
    let mut octets = vec![0; ATTACHMENT_BYTES];
    getrandom::fill(&mut octets).map_err(|error| broken(format!("no randomness: {error}")))?;
    std::fs::write(path, &octets).map_err(|error| Failure::output(path, &error))?;
    Ok(sha256(&octets))
}

fn sha256(octets: &[u8]) -> String {
    Sha256::digest(octets).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The way that must have been gone: each relay, then both inboxes.
fn show(stage: &Stage, trace: &CustodyTrace) -> Result<(), Failure> {
    let mut hops: Vec<&Hop> = trace.hops.iter().filter(|hop| hop.at.is_some()).collect();
    hops.sort_by_key(|hop| hop.at);
    for (kind, node) in [(HopStage::Custody, NEAR_RELAY), (HopStage::Custody, FAR_RELAY)]
        .into_iter()
        .chain(RECIPIENTS.map(|agency| (HopStage::Inbox, agency)))
    {
        check(hops.iter().any(|hop| hop.stage == kind && hop.node.as_str() == node), || {
            format!("{}: no receipt of {node}", trace.id.short())
        })?;
    }
    let start = trace.created.0.as_millis();
    let mut shown = trace.id.short();
    for hop in hops {
        let after = hop.at.map_or(0, |at| at.0.as_millis().saturating_sub(start));
        let (word, what) = match hop.stage {
            HopStage::Outbox => ("outbox", format!("signed, sealed to {}", RECIPIENTS.len())),
            HopStage::Custody => ("custody", "durable, then acknowledged".into()),
            HopStage::Inbox => ("inbox", "opened, signature good".into()),
            _ => continue,
        };
        let line = format!("   {shown:<10}  {word:<7}  {:<7}  {what:<33}+{after} ms", hop.node.as_str());
        stage.say.step(SECTION, word, json!({ "id": trace.id, "node": hop.node, "after_ms": after }), &line)?;
        shown.clear();
    }
    Ok(())
}

/// Signature good, text the same, attachment the same, as an analyst of `agency` gets them.
async fn arrived_whole(stage: &Stage, agency: &str, id: Id, hash: &str) -> Result<(), Failure> {
    let message = stage.federation.client(agency).message(&id.to_string()).await?;
    check(message.verification.verified, || format!("{agency}: the signature is not good"))?;
    check(message.subject == SUBJECT && message.text == TEXT, || format!("{agency}: the text is another"))?;
    let saved = stage.federation.liaison(agency, &["-q", "save", &id.to_string(), "--part", "1", "-o", "-"])?;
    check(sha256(&saved.stdout) == hash, || format!("{agency}: the attachment is another"))
}

/// Reads everything that the relays keep and log. What must not be there is not there.
fn sealed(stage: &Stage) -> Result<(), Failure> {
    for relay in [NEAR_RELAY, FAR_RELAY] {
        let log = stage.federation.folder().join(format!("{relay}.log"));
        let store = stage.federation.node_folder(relay).join("store");
        if let Some((secret, path)) = search::first_of(&[SUBJECT, TEXT, ATTACHMENT], &[&store, &log])? {
            return Err(broken(format!("{relay} has '{secret}' in {}", path.display())));
        }
    }
    let line =
        "   what the relays saw: sender, recipients, precedence, padded size, expiry.  not: subject, text, file name";
    stage.say.step(SECTION, "sealed", json!({ "searched": ["stores", "logs"] }), line)
}
