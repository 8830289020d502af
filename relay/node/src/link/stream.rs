//! Frames over one QUIC stream.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use liaison_protocol::frame::{CloseCode, Decoder, Expect, Frame};
use liaison_protocol::mutant::{Mutant, planted};
use quinn::{ReadError, RecvStream, SendStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::budget::Meter;
use super::end::End;
use super::handle::Outgoing;
use super::progress::{Patience, Progress};

/// Bytes taken from QUIC at a time.
const READ_BYTES_MAX: usize = 64 * 1024;
/// Frames handed to QUIC at a time.
const BATCH_FRAMES_MAX: usize = 64;

/// Whether a stream on which nothing comes may be silent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Silence {
    Allowed,
    Late,
}

/// The receiving half.
#[derive(Debug)]
pub(super) struct FrameReader {
    stream: RecvStream,
    decoder: Decoder,
    patience: Patience,
    meter: Option<Meter>,
    /// Whether the frame that comes has been counted.
    metered: bool,
}

impl FrameReader {
    pub(super) fn new(stream: RecvStream, expect: Expect, received: Arc<Progress>, stall: Duration) -> Self {
        let (decoder, patience) = (Decoder::new(expect), Patience::new(received, stall));
        Self { stream, decoder, patience, meter: None, metered: false }
    }

    /// From now on the head of each frame is judged by this meter.
    pub(super) fn set_meter(&mut self, meter: Meter) {
        self.meter = Some(meter);
    }

    /// The next frame; `None` once the peer has finished the stream. Between frames a stream may be silent.
    ///
    /// # Errors
    /// The end of the link.
    pub(super) async fn next(&mut self) -> Result<Option<Frame>, End> {
        self.read(Silence::Allowed).await
    }

    /// The first frame of a stream that the peer has opened. Other lanes' frames may go before it for long, and QUIC
    /// opens a stream before its own bytes come when those of a later one do: it waits as any part of a frame does.
    ///
    /// # Errors
    /// As [`FrameReader::next`].
    pub(super) async fn first(&mut self) -> Result<Option<Frame>, End> {
        self.read(Silence::Late).await
    }

    async fn read(&mut self, silence: Silence) -> Result<Option<Frame>, End> {
        loop {
            self.judge_head().await?;
            if let Some(frame) = self.decoder.next_frame()? {
                self.metered = false;
                self.patience.restart();
                return Ok(Some(frame));
            }
            let read = self.stream.read_chunk(READ_BYTES_MAX, true);
            let chunk = if silence == Silence::Late || self.decoder.is_mid_frame() {
                self.patience.wait(read).await?
            } else {
                let chunk = read.await;
                self.patience.restart();
                chunk
            };
            let chunk = match chunk {
                Err(ReadError::Reset(_)) if planted(Mutant::ResetIsEnd) => None,
                chunk => chunk?,
            };
            match chunk {
                Some(chunk) => {
                    self.patience.moved(chunk.bytes.len());
                    self.decoder.push(&chunk.bytes);
                }
                None if self.decoder.is_mid_frame() && !planted(Mutant::ResetIsEnd) => {
                    return Err(End::us(CloseCode::ProtocolViolation, "a stream ends within a frame"));
                }
                None => return Ok(None),
            }
        }
    }
}

impl FrameReader {
    /// Before any room is made for the frame.
    async fn judge_head(&mut self) -> Result<(), End> {
        let Some(meter) = self.meter.as_ref().filter(|_| !self.metered) else { return Ok(()) };
        let Some((frame, bytes)) = self.decoder.head()? else { return Ok(()) };
        meter.admit(frame, bytes, self.patience.progress()).await?;
        self.metered = true;
        self.patience.restart();
        Ok(())
    }
}

/// The sending half.
#[derive(Debug)]
pub(super) struct FrameWriter {
    stream: SendStream,
    patience: Patience,
}

impl FrameWriter {
    pub(super) fn new(stream: SendStream, priority: i32, sent: Arc<Progress>, stall: Duration) -> Self {
        // Fails only on a stream that is closed, and then the first write says so.
        let _ = stream.set_priority(priority);
        Self { stream, patience: Patience::new(sent, stall) }
    }

    /// Hands one frame to QUIC, which sends it again until the peer has it.
    ///
    /// # Errors
    /// The end of the link; `timeout` if the peer does not read.
    pub(super) async fn write(&mut self, frame: Vec<u8>) -> Result<(), End> {
        self.write_all(&mut [frame.into()], |_| ()).await
    }

    /// Hands frames to QUIC, and tells `written` how many more of them it has in full.
    async fn write_all(&mut self, mut frames: &mut [Bytes], mut written: impl FnMut(usize)) -> Result<(), End> {
        self.patience.restart();
        while !frames.is_empty() {
            let taken = self.patience.wait(self.stream.write_chunks(frames)).await??;
            self.patience.moved(taken.bytes);
            written(taken.chunks);
            frames = frames.get_mut(taken.chunks..).unwrap_or_default();
        }
        Ok(())
    }

    /// Writes what is queued. Once `drain` is cancelled, takes nothing new, and returns when the peer has it all.
    ///
    /// # Errors
    /// As [`FrameWriter::write`].
    pub(super) async fn pump(
        mut self,
        mut queue: mpsc::Receiver<Outgoing>,
        drain: &CancellationToken,
    ) -> Result<(), End> {
        let mut batch = Vec::with_capacity(BATCH_FRAMES_MAX);
        let mut draining = false;
        loop {
            let taken = tokio::select! {
                biased;
                () = drain.cancelled(), if !draining => {
                    draining = true;
                    queue.close();
                    continue;
                }
                taken = queue.recv_many(&mut batch, BATCH_FRAMES_MAX) => taken,
            };
            if taken == 0 {
                break;
            }
            let mut frames: Vec<Bytes> = batch.iter().map(|outgoing| outgoing.frame.clone()).collect();
            if planted(Mutant::BatchReordered) && taken > 2 {
                frames.reverse();
            }
            // Room is free again as soon as QUIC has a frame: its acknowledgement may come before the batch is through.
            self.write_all(&mut frames, |written| drop(batch.drain(..written))).await?;
        }
        // A stream that is closed already has nothing left to finish.
        let _ = self.stream.finish();
        let _ = self.stream.stopped().await;
        Ok(())
    }
}
