//! 4: someone tampers, with real keys and over real links.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use liaison_node::store::{DiskStore, Reads as _, StoreConfig};
use liaison_protocol::frame::{Ack, Transfer};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::roster::TrustAnchor;
use liaison_protocol::{Envelope, Header, Roster};
use serde_json::json;

use super::federation::make_keys;
use super::intruder::Intruder;
use super::stage::{NEAR_RELAY, SENDER, Stage, broken, check};
use crate::failure::Failure;

const SECTION: u8 = 4;
/// Where the stolen store lies, in the demo's folder.
const STOLEN: &str = "stolen-store";
/// The federation that the outsider comes from.
const ELSEWHERE: &str = "elsewhere";

pub(super) async fn play(stage: &mut Stage) -> Result<(), Failure> {
    stage.say.text("\n4. someone tampers")?;
    let envelope = stolen_envelope(stage)?;
    let roster = Arc::new(roster(stage)?);
    // The thief has the agency's link key, too: nothing but the relay's checks is in the way.
    stage.federation.stop(SENDER).await?;
    let folder = stage.federation.node_folder(SENDER);
    let mut thief = Intruder::new(&folder, SENDER, roster.clone())?;
    let (address, relay) = near_relay(stage)?;
    let knock = thief.connect(&relay, &address).await;
    knock.map_err(|reason| broken(format!("{SENDER}'s own key gets no link: {reason}")))?;
    changed_is_refused(stage, &mut thief, &envelope).await?;
    repeated_is_refused(stage, &mut thief, &envelope).await?;
    thief.leave().await;
    outsider_is_refused(stage, &roster).await?;
    stage.federation.start(SENDER)?;
    stage.linked(SENDER).await
}

/// Copies the near relay's disk while it holds messages.
pub(super) fn copy_store(stage: &Stage) -> Result<(), Failure> {
    let from = stage.federation.node_folder(NEAR_RELAY).join("store");
    copy_folder(&from, &stage.federation.folder().join(STOLEN))
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::create_dir(to).map_err(|error| Failure::output(to, &error))?;
    for entry in std::fs::read_dir(from).map_err(|error| Failure::input(from, &error))? {
        let from = entry.map_err(|error| Failure::input(from, &error))?.path();
        let to = to.join(from.file_name().unwrap_or_default());
        if from.is_dir() {
            copy_folder(&from, &to)?;
        } else {
            std::fs::copy(&from, &to).map_err(|error| Failure::input(&from, &error))?;
        }
    }
    Ok(())
}

/// The last message that was sent into the outage, as it lay in the store.
fn stolen_envelope(stage: &Stage) -> Result<Bytes, Failure> {
    let unreadable = |error: String| broken(format!("the copied store cannot be read: {error}"));
    let config = StoreConfig::new(stage.federation.folder().join(STOLEN));
    let store = DiskStore::open(&config).map_err(|error| unreadable(error.to_string()))?;
    let id = stage.sent.last().ok_or_else(|| broken("nothing was sent"))?.id;
    let envelope = store.envelope(&id.0).map_err(|error| unreadable(error.to_string()))?;
    envelope.ok_or_else(|| broken(format!("{NEAR_RELAY} did not hold {}", id.short())))
}

fn roster(stage: &Stage) -> Result<Roster, Failure> {
    let read = |path: PathBuf| std::fs::read(&path).map_err(|error| Failure::input(&path, &error));
    let anchor = TrustAnchor::from_json(&read(stage.federation.path("roots.json"))?).map_err(broken)?;
    Roster::verify_first(&read(stage.federation.path("roster.json"))?, &anchor).map_err(broken)
}

fn near_relay(stage: &Stage) -> Result<(String, liaison_protocol::NodeId), Failure> {
    let relay = stage.federation.summary.relays.iter().find(|relay| relay.id.as_str() == NEAR_RELAY);
    let relay = relay.ok_or_else(|| broken(format!("there is no {NEAR_RELAY}")))?;
    Ok((relay.quic.to_string(), relay.id.clone()))
}

/// A transfer as the sender's daemon made it, for all recipients.
fn transfer(envelope: Vec<u8>) -> Result<Transfer, Failure> {
    let header = Envelope::decode(&envelope).map_err(broken)?.header;
    let header = Header::decode(&header).map_err(broken)?;
    let recipients = u16::try_from(header.recipients.len()).map_err(broken)?;
    Ok(Transfer {
        seq: 1,
        attempt: 1,
        branch: (0..recipients).collect(),
        path: Vec::new(),
        accepted: header.created,
        envelope: envelope.into(),
    })
}

async fn changed_is_refused(stage: &Stage, thief: &mut Intruder, envelope: &[u8]) -> Result<(), Failure> {
    let mut envelope = envelope.to_vec();
    if let Some(last) = envelope.last_mut() {
        *last ^= 1;
    }
    let ack = thief.offer(transfer(envelope)?).await.map_err(broken)?;
    let reasons: Vec<_> = ack.refused.iter().map(|refused| RefusalReason::try_from(refused.reason).ok()).collect();
    let all = !reasons.is_empty() && reasons.iter().all(|reason| *reason == Some(RefusalReason::BadSignature));
    check(all && nothing_taken(&ack), || format!("a changed envelope was answered with {ack:?}"))?;
    say(stage, "changed", "one byte of a stored envelope changed", "signature")
}

async fn repeated_is_refused(stage: &Stage, thief: &mut Intruder, envelope: &[u8]) -> Result<(), Failure> {
    let ack = thief.offer(transfer(envelope.to_vec())?).await.map_err(broken)?;
    check(nothing_taken(&ack) && ack.refused.is_empty() && !ack.duplicate.is_empty(), || {
        format!("an old envelope was answered with {ack:?}")
    })?;
    say(stage, "repeated", "an old envelope sent again", "seen before")
}

fn nothing_taken(ack: &Ack) -> bool {
    ack.taken.is_empty()
}

/// An agency of the same name with good keys, from another federation.
async fn outsider_is_refused(stage: &Stage, roster: &Arc<Roster>) -> Result<(), Failure> {
    let elsewhere = stage.federation.folder().join(ELSEWHERE);
    make_keys(&stage.federation.programs, &elsewhere)?;
    let mut outsider = Intruder::new(&elsewhere.join("agencies").join(SENDER), SENDER, roster.clone())?;
    let (address, relay) = near_relay(stage)?;
    let knock = outsider.connect(&relay, &address).await;
    outsider.leave().await;
    match knock {
        Ok(()) => Err(broken("an agency that is not in the roster got a link")),
        Err(reason) => {
            check(reason.contains("not-in-roster"), || {
                format!("an agency that is not in the roster was told: {reason}")
            })?;
            let version = roster.version().0;
            say(stage, "outsider", "an agency that is not in the roster connects", &format!("not in roster v{version}"))
        }
    }
}

fn say(stage: &Stage, step: &str, what: &str, refused: &str) -> Result<(), Failure> {
    let line = format!("   {what:<46} refused: {refused}");
    stage.say.step(SECTION, step, json!({ "refused": refused }), &line)
}
