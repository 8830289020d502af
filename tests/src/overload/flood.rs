//! An agency that hands over more than its relay can take, below the protocol: it keeps to no bound of its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use certs_dev::Federation;
use liaison_node::clock;
use liaison_protocol::envelope::{Envelope, Header, message_id, signed_message};
use liaison_protocol::frame::{Acks, Decoder, Expect, Frame, Transfer};
use liaison_protocol::sign::Signer as _;
use liaison_protocol::{MessageId, Precedence, SigningKey};
use quinn::{RecvStream, SendStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::TEXT_BYTES;
use crate::agency::{Agency, SealJob, once};
use crate::check::Check;
use crate::keys::signing_key;
use crate::raw::{Dialer, Raw};

/// Written in one go.
const TOGETHER: u64 = 16;
const TICK: Duration = Duration::from_millis(1);

/// See the module. It goes on until it is ended.
pub(super) struct Flood {
    lanes: JoinSet<Result<Flooded>>,
    stop: CancellationToken,
    // Its link.
    _peer: Raw,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Flooded {
    /// Due at the flood's rate.
    pub(super) offered: u64,
    /// Went into the link; the rest was held back by the relay's flow control.
    pub(super) sent: u64,
    /// Refused, for now or for good; nothing of it was stored.
    pub(super) refused: u64,
    /// In the relay's custody.
    pub(super) taken: BTreeSet<MessageId>,
}

/// Signs new messages as fast as can be: the sealed content is always the same, the header never.
struct Source {
    envelope: Envelope,
    header: Header,
    signer: Arc<SigningKey>,
}

impl Flood {
    /// Floods `relay` with messages of `agency` to `victim`, so many a second, at these precedences.
    pub(super) async fn begin(
        files: &Federation,
        relay: &str,
        agency: &str,
        victim: &Agency,
        precedences: &[Precedence],
        per_second: u32,
    ) -> Result<Self> {
        let roster = files.roster()?;
        let signer = Arc::new(signing_key(files, agency));
        let mut peer = Dialer::new(files, relay, std::net::Ipv4Addr::LOCALHOST)?.dial(files, agency).await?;
        peer.greet().await?;
        let (mut lanes, stop) = (JoinSet::new(), CancellationToken::new());
        for precedence in precedences {
            let recipients = vec![(victim.name().clone(), victim.prekey())];
            let job = SealJob::new(&roster, &agency.parse()?, &signer, recipients, *precedence, TEXT_BYTES);
            let envelope = job.seal()?.into_envelope();
            let header = Header::decode(&envelope.header)?;
            let source = Source { envelope, header, signer: signer.clone() };
            let (lane, answers) = peer.open_lane(precedence.rank(), &[]).await?;
            let rate = per_second / u32::try_from(precedences.len())?.max(1);
            lanes.spawn(flood(source, lane, answers, rate.max(1), stop.clone()));
        }
        Ok(Self { lanes, stop, _peer: peer })
    }

    /// Sends no more, and waits until everything that was sent is answered.
    pub(super) async fn end(mut self, patience: Duration) -> Result<Flooded> {
        self.stop.cancel();
        let mut all = Flooded::default();
        while let Some(lane) = timeout(patience, self.lanes.join_next()).await.context("no answer to the flood")? {
            let lane = lane??;
            all.offered += lane.offered;
            all.sent += lane.sent;
            all.refused += lane.refused;
            all.taken.extend(lane.taken);
        }
        Ok(all)
    }
}

impl Flooded {
    /// Until everything that was taken has arrived, or nothing comes any more.
    pub(super) async fn await_arrival(&self, victim: &Agency, patience: Duration) -> Result<()> {
        let (mut open, mut moved) = (self.taken.clone(), Instant::now());
        while !open.is_empty() {
            for (id, _) in victim.arrivals() {
                open.remove(&id);
                moved = Instant::now();
            }
            ensure!(moved.elapsed() < patience, "{} of the flood's messages have not arrived", open.len());
            tokio::time::sleep(TICK).await;
        }
        Ok(())
    }

    pub(super) fn check(&self, victim: &Agency, others: &[MessageId]) -> Result<Check> {
        once(&self.taken, victim, others)
    }
}

async fn flood(
    mut source: Source,
    mut lane: SendStream,
    answers: RecvStream,
    per_second: u32,
    stop: CancellationToken,
) -> Result<Flooded> {
    let (ids, mut waiting) = tokio::sync::mpsc::unbounded_channel();
    let write = async {
        let (begin, mut sent, mut offered) = (Instant::now(), 0u64, 0u64);
        while !stop.is_cancelled() {
            offered = u64::try_from(begin.elapsed().as_micros())? * u64::from(per_second) / 1_000_000;
            let mut frames = Vec::new();
            for _ in 0..offered.saturating_sub(sent).min(TOGETHER) {
                sent += 1;
                let (id, frame) = source.next(sent)?;
                frames.extend(frame);
                ids.send(id)?;
            }
            if frames.is_empty() {
                tokio::time::sleep(TICK).await;
            }
            lane.write_all(&frames).await?;
        }
        // The answers end with this.
        drop(ids);
        anyhow::Ok((offered, sent))
    };
    let read = async {
        let (mut flooded, mut answers) = (Flooded::default(), Answers::of(answers));
        let mut number = 0;
        while let Some(id) = waiting.recv().await {
            number += 1;
            match answers.of_transfer(number).await? {
                true => drop(flooded.taken.insert(id)),
                false => flooded.refused += 1,
            }
        }
        anyhow::Ok(flooded)
    };
    let ((offered, sent), flooded) = tokio::try_join!(write, read)?;
    Ok(Flooded { offered, sent, ..flooded })
}

impl Source {
    fn next(&mut self, seq: u64) -> Result<(MessageId, Vec<u8>)> {
        self.header.nonce[..8].copy_from_slice(&seq.to_be_bytes());
        let header = Bytes::from(self.header.encode());
        let id = message_id(&header);
        let signature = self.signer.sign(&signed_message(&id))?;
        let envelope = Envelope { header, signature, ..self.envelope.clone() };
        let transfer = Transfer {
            seq,
            attempt: 1,
            branch: vec![0],
            path: Vec::new(),
            accepted: clock::now(),
            envelope: envelope.encode().into(),
        };
        Ok((id, Frame::Transfer(transfer).encode()?))
    }
}

/// Acknowledgements, in whatever order they come.
struct Answers {
    stream: RecvStream,
    decoder: Decoder,
    known: std::collections::BTreeMap<u64, bool>,
}

impl Answers {
    fn of(stream: RecvStream) -> Self {
        Self { stream, decoder: Decoder::new(Expect::Acks), known: std::collections::BTreeMap::new() }
    }

    /// Whether it was taken.
    async fn of_transfer(&mut self, number: u64) -> Result<bool> {
        loop {
            if let Some(taken) = self.known.remove(&number) {
                return Ok(taken);
            }
            while let Some(Frame::Acks(Acks { acks, .. })) = self.decoder.next_frame()? {
                self.known.extend(acks.iter().map(|ack| (ack.seq, !ack.taken.is_empty())));
            }
            if self.known.contains_key(&number) {
                continue;
            }
            let Some(chunk) = self.stream.read_chunk(64 * 1024, true).await? else { bail!("the lane has ended") };
            self.decoder.push(&chunk.bytes);
        }
    }
}
