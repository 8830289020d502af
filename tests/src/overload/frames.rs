//! Every type of control frame in turn, as fast as one peer can send it, while another agency sends flash.
//!
//! ```text
//!  ncb.sg ─ flash ─┐                        ┌─ flash ─► ncb.ee
//!                  ap-1 ═══════════════ eu-1
//!  one peer ───────┘ one frame type, as the relay takes it, over a new link whenever it is closed
//! ```

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use liaison_node::clock;
use liaison_protocol::codec::Fixed;
use liaison_protocol::frame::{
    Bundle, BundleOffer, BundleRequest, BundleVersion, Comparison, ControlFrame, Custody, CustodyProof, CustodyState,
    HourTally, Inquiry, InquiryAnswer, Reach, ReachEntry, Roll, RollAnswer, RollItem, RosterFrame, RosterOffer,
    RosterRequest, Tallies, TalliesAnswer, Tally,
};
use liaison_protocol::prekey::{PrekeyBundle, PrekeyEntry, PrekeySecret, sign_bundle};
use liaison_protocol::{AgencyId, Hash, Hour, MessageId, NodeId, Roster, SigningKey};
use rand_core::UnwrapErr;
use tokio::time::timeout;

use super::report::Flash;
use super::{FLASH_PER_SECOND, PATIENCE, TEXT_BYTES, watch};
use crate::agency::{Agency, Way};
use crate::fed::{self, Federation};
use crate::gauge::Gauge;
use crate::keys::signing_key;
use crate::raw::{Dialer, Raw};

const RELAY: &str = "ap-1";
/// Written in one go, where frames are small.
const WRITE_BYTES: usize = 64 * 1024;
/// Bytes of a roster that is none.
const ROSTER_BYTES: usize = 12_000_000;
/// The relay has asked by then, or does not ask.
const ASKED_WITHIN: Duration = Duration::from_millis(200);
const MIB: u64 = 1 << 20;

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FramePlan {
    /// Agencies of the federation.
    pub agencies: usize,
    /// For how long each type floods.
    pub run: Duration,
    /// Whose stolen keys the peer has: an agency of `ap-1`, or a relay.
    pub attacker: String,
}

/// What one type did.
pub struct Row {
    /// What was sent.
    pub what: &'static str,
    /// Frames that the relay let through.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Links that the relay closed.
    pub closed: u64,
    flash: Flash,
    most: Gauge,
}

/// All types, and flash without any of them.
pub struct FrameReport {
    /// The first one is nothing at all.
    pub rows: Vec<Row>,
}

impl FrameReport {
    /// The most that the relay took up.
    #[must_use]
    pub fn resident_max(&self) -> u64 {
        self.rows.iter().map(|row| row.most.resident).max().unwrap_or_default()
    }

    /// Flash messages that passed beside each type.
    pub fn passed(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.rows.iter().map(|row| (row.what, row.flash.messages))
    }
}

impl fmt::Display for FrameReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "frame                    let through      MiB  closed  resident  threads  flash p50    p99")?;
        let ms = |span: Duration| span.as_secs_f64() * 1_000.0;
        self.rows.iter().try_for_each(|row| {
            let Row { what, frames, bytes, closed, flash, most } = row;
            writeln!(
                f,
                "{what:<24} {frames:>11} {:>8} {closed:>7} {:>5} MiB {:>8} {:>7.1} ms {:>6.1} ms",
                bytes / MIB,
                most.resident / MIB,
                most.threads,
                ms(flash.median),
                ms(flash.slowest),
            )
        })
    }
}

/// Runs a plan to its end: every flash message arrives, whatever the peer says.
///
/// # Errors
/// It cannot be run, or mail stands still.
///
/// # Panics
/// The relays do not start.
pub fn run_frames(plan: &FramePlan) -> Result<FrameReport> {
    let fed = Arc::new(Federation::make(&fed::Plan { regions: 3, agencies: plan.agencies, ..fed::Plan::default() }));
    [RELAY, "eu-1"].into_iter().for_each(|relay| fed.start_node(relay));
    tokio::runtime::Runtime::new()?.block_on(measure(plan, &fed))
}

async fn measure(plan: &FramePlan, fed: &Arc<Federation>) -> Result<FrameReport> {
    let (sender, recipient) = (Agency::start(fed.files(), "ncb.sg")?, Agency::start(fed.files(), "ncb.ee")?);
    sender.await_way(&recipient, PATIENCE).await?;
    let way = Way::new(&sender, &recipient, TEXT_BYTES);
    let mut rows = vec![row(plan, fed, &way, None).await.context("without a flood")?];
    let source = Source::new(fed, &plan.attacker)?;
    for kind in source.kinds() {
        let what = kind.what;
        rows.push(row(plan, fed, &way, Some((&source, kind))).await.context(what)?);
    }
    sender.stop().await?;
    recipient.stop().await?;
    Ok(FrameReport { rows })
}

async fn row(plan: &FramePlan, fed: &Federation, way: &Way<'_>, flood: Option<(&Source, Kind)>) -> Result<Row> {
    let what = flood.as_ref().map_or("nothing", |(_, kind)| kind.what);
    let until = Instant::now() + plan.run;
    let flood = async {
        match flood {
            Some((source, kind)) => source.flood(fed, kind, until).await,
            None => Ok(Flooded::default()),
        }
    };
    let (flash, flooded, most) = tokio::join!(way.flash(FLASH_PER_SECOND, plan.run), flood, watch(fed, plan.run));
    let Flooded { frames, bytes, closed } = flooded?;
    Ok(Row { what, frames, bytes, closed, flash: Flash::of(flash?), most: most[0] })
}

#[derive(Default)]
struct Flooded {
    frames: u64,
    bytes: u64,
    closed: u64,
}

/// One kind of flood.
struct Kind {
    what: &'static str,
    /// One frame, said again and again.
    frame: ControlFrame,
    /// What answers each question of the relay.
    answers: Answers,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    /// None: what the relay says is not even read.
    Deaf,
    /// A new bundle of its own, which holds.
    Bundles,
    /// A roster that is none.
    Rosters,
}

/// What the peer has to say.
struct Source {
    attacker: String,
    names: Vec<AgencyId>,
    relays: Vec<NodeId>,
    signer: SigningKey,
    roster: Roster,
    /// Numbers its bundles.
    began: Instant,
}

impl Source {
    fn new(fed: &Federation, attacker: &str) -> Result<Self> {
        let roster = fed.files().roster()?;
        let mut names: Vec<AgencyId> = fed.files().agencies.iter().map(|agency| agency.id.clone()).collect();
        let mut relays: Vec<NodeId> = roster.relays().map(|relay| relay.id.clone()).collect();
        names.sort();
        relays.sort();
        Ok(Self {
            attacker: attacker.into(),
            names,
            relays,
            signer: signing_key(fed.files(), attacker),
            roster,
            began: Instant::now(),
        })
    }

    fn kinds(&self) -> Vec<Kind> {
        let deaf = |what, frame| Kind { what, frame, answers: Answers::Deaf };
        let asked = |what, frame, answers| Kind { what, frame, answers };
        let (id, me) = (MessageId(Hash([7; 32])), self.attacker.clone());
        let versions = |seq| {
            let version = |agency: &AgencyId| BundleVersion { agency: agency.clone(), epoch: u32::MAX, seq };
            BundleOffer { bundles: self.names.iter().map(version).collect() }
        };
        let proof = CustodyProof {
            id,
            indices: vec![0],
            receipt: vec![1; 1_000].into(),
            proof: vec![1; 500].into(),
            leaf: vec![1; 100].into(),
        };
        let tally = |hour| HourTally { hour: Hour(hour), tally: Tally { count: 9, sum: Hash::ZERO } };
        let item = |n: u32| {
            let mut id = id;
            id.0.0[..4].copy_from_slice(&n.to_be_bytes());
            RollItem { id, index: 0 }
        };
        let comparison = ControlFrame::Comparison;
        let by = me.parse().unwrap_or_else(|_| self.relays[0].clone());
        vec![
            deaf("roster, unasked", roster_that_is_none()),
            asked("roster, asked for", claim(u32::MAX), Answers::Rosters),
            deaf("roster request", ControlFrame::RosterRequest(RosterRequest { after: 0 })),
            deaf("roster offer", claim(u32::MAX - 1)),
            deaf("bundle offer", ControlFrame::BundleOffer(versions(u64::MAX))),
            deaf("bundle request", ControlFrame::BundleRequest(BundleRequest { agencies: self.names.clone() })),
            deaf("bundle, unasked", self.bundle(u64::MAX)),
            asked("bundle, new and valid", claim(0), Answers::Bundles),
            deaf("inquiry", ControlFrame::Inquiry(Inquiry { id, index: 0, hops: 5 })),
            deaf(
                "inquiry answer",
                ControlFrame::InquiryAnswer(InquiryAnswer { id, index: 0, by, state: CustodyState::Held }),
            ),
            deaf("custody", ControlFrame::Custody(Custody { proofs: vec![proof; 512] })),
            deaf("reach", ControlFrame::Reach(Reach { relays: self.relays.iter().map(reach).collect() })),
            deaf("tallies", comparison(Comparison::Tallies(Tallies { hours: (0..1_024).map(tally).collect() }))),
            deaf(
                "tallies answer",
                comparison(Comparison::TalliesAnswer(TalliesAnswer { hours: (0..1_024).map(tally).collect() })),
            ),
            deaf("roll", comparison(Comparison::Roll(Roll { items: (0..4_096).map(item).collect() }))),
            deaf("roll answer", comparison(Comparison::RollAnswer(RollAnswer { unknown: (0..4_096).collect() }))),
        ]
    }

    /// A bundle of the attacker's own that holds.
    fn bundle(&self, seq: u64) -> ControlFrame {
        let (key, now) = (PrekeySecret::generate(&mut UnwrapErr(getrandom::SysRng)).public(), clock::now());
        let hour = Duration::from_secs(3_600);
        let entry = PrekeyEntry { id: key.id(), not_before: now.before(hour), not_after: now.after(hour), once: false };
        let bundle = PrekeyBundle {
            version: PrekeyBundle::VERSION,
            federation: self.roster.federation(),
            agency: self.attacker.parse().unwrap_or_else(|_| self.names[0].clone()),
            epoch: 1,
            seq,
            issued: now,
            max_ttl_s: 86_400,
            keys: vec![entry],
        };
        let signed = sign_bundle(&bundle, &self.signer).map(|signed| signed.encode()).unwrap_or_default();
        ControlFrame::Bundle(Bundle { bundle: signed.into(), keys: vec![Fixed(Box::new(*key.as_bytes()))] })
    }

    async fn flood(&self, fed: &Federation, kind: Kind, until: Instant) -> Result<Flooded> {
        let dialer = Dialer::new(fed.files(), RELAY, Ipv4Addr::LOCALHOST)?;
        let mut flooded = Flooded::default();
        while Instant::now() < until {
            // A relay that is closing a link, or keeps another one, takes the next one later.
            let Ok(mut peer) = dialer.dial(fed.files(), &self.attacker).await else { continue };
            if peer.greet().await.is_err() {
                flooded.closed += 1;
                continue;
            }
            match kind.answers {
                Answers::Deaf => say_on(&mut peer, &kind.frame, until, &mut flooded).await?,
                // It ends with the link.
                Answers::Bundles | Answers::Rosters => {
                    let left = until.saturating_duration_since(Instant::now());
                    let _ = timeout(left, self.answer(&mut peer, &kind, &mut flooded)).await;
                }
            }
            flooded.closed += u64::from(peer.is_closed());
        }
        Ok(flooded)
    }

    /// Says what makes the relay ask, and answers each of its questions.
    async fn answer(&self, peer: &mut Raw, kind: &Kind, flooded: &mut Flooded) -> Result<()> {
        let mut seq = u64::try_from(self.began.elapsed().as_millis())?;
        loop {
            seq += 1;
            let offer = match kind.answers {
                Answers::Bundles => {
                    let agency = self.attacker.parse()?;
                    ControlFrame::BundleOffer(BundleOffer { bundles: vec![BundleVersion { agency, epoch: 1, seq }] })
                }
                Answers::Deaf | Answers::Rosters => kind.frame.clone(),
            };
            say(peer, &offer.encode()?, 1, flooded).await?;
            loop {
                let answer = match timeout(ASKED_WITHIN, peer.hear()).await {
                    Ok(Ok(Some(ControlFrame::BundleRequest(_)))) => self.bundle(seq),
                    Ok(Ok(Some(ControlFrame::RosterRequest(_)))) => roster_that_is_none(),
                    Ok(Ok(Some(_))) => continue,
                    Ok(_) => return Ok(()),
                    Err(_) => break,
                };
                say(peer, &answer.encode()?, 1, flooded).await?;
            }
        }
    }
}

/// The same frame until the link ends.
async fn say_on(peer: &mut Raw, frame: &ControlFrame, until: Instant, flooded: &mut Flooded) -> Result<()> {
    let one = frame.encode()?;
    let together = (WRITE_BYTES / one.len()).max(1);
    let many = one.repeat(together);
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        // The link is gone; or the relay holds back until the end.
        let Ok(Ok(())) = timeout(left, say(peer, &many, together as u64, flooded)).await else { return Ok(()) };
    }
    Ok(())
}

async fn say(peer: &mut Raw, bytes: &[u8], frames: u64, flooded: &mut Flooded) -> Result<()> {
    for part in bytes.chunks(WRITE_BYTES) {
        peer.say(part).await?;
        flooded.bytes += part.len() as u64;
    }
    flooded.frames += frames;
    Ok(())
}

fn claim(version: u32) -> ControlFrame {
    ControlFrame::RosterOffer(RosterOffer { version, hash: Hash([9; 32]) })
}

/// It is as long as a roster may be and begins like one.
fn roster_that_is_none() -> ControlFrame {
    let begin = br#"{"payloadType":"application/vnd.liaison.roster.v1+json","signatures":[],"payload":""#;
    let text = [begin.as_slice(), &vec![b'A'; ROSTER_BYTES], br#""}"#].concat();
    ControlFrame::Roster(RosterFrame { bytes: Bytes::from(text) })
}

fn reach(relay: &NodeId) -> ReachEntry {
    ReachEntry { relay: relay.clone(), cost: 10, hops: 1 }
}
