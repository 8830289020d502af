//! Envelopes one way, acknowledgements back: one stream for each rank and direction.

use std::sync::Arc;

use liaison_protocol::frame::{CloseCode, Expect, Frame, LaneOpen, Transfer};
use liaison_protocol::mutant::{Mutant, planted};
use quinn::{RecvStream, SendStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::LinkEvent;
use super::end::End;
use super::handle::Outgoing;
use super::room::LaneRooms;
use super::stream::{FrameReader, FrameWriter};
use super::task::Context;
use super::transport::{acks_priority, lane_priority};

/// A lane of ours: opens the stream, writes transfers, reads acknowledgements.
pub(super) async fn send(context: Arc<Context>, rank: u8, queue: mpsc::Receiver<Outgoing>) -> Result<(), End> {
    let shared = &context.shared;
    let opened = timeout(context.stall, shared.connection.open_bi()).await;
    let (send, recv) = opened.map_err(|_| End::us(CloseCode::Timeout, "the peer lets us open no lane"))??;
    let mut writer = FrameWriter::new(send, lane_priority(rank), shared.sent.clone(), context.stall);
    writer.write(Frame::LaneOpen(LaneOpen { rank }).encode()?).await?;
    let reader = FrameReader::new(recv, Expect::Acks, shared.received.clone(), context.stall);
    // Transfers are not drained: what is not acknowledged is in our store, and goes over the next link.
    let never = CancellationToken::new();
    let write = async {
        let written = writer.pump(queue, &never).await;
        if written.is_err() && shared.connection.close_reason().is_some() {
            // The reader has to get through what arrived before the end, which it then finds, too.
            std::future::pending::<()>().await;
        }
        written
    };
    tokio::try_join!(write, read_acks(&context, rank, reader))?;
    Ok(())
}

async fn read_acks(context: &Context, rank: u8, mut reader: FrameReader) -> Result<(), End> {
    let link = context.shared.id;
    let _reading = context.readers.token();
    while let Some(frame) = reader.next().await? {
        if let Frame::Acks(acks) = frame {
            context.emit(LinkEvent::Acks { link, rank, acks }).await?;
        }
    }
    Ok(())
}

/// A stream that the peer opened: its lane, or a violation.
pub(super) async fn receive(context: Arc<Context>, send: SendStream, recv: RecvStream) -> Result<(), End> {
    let shared = &context.shared;
    let mut reader = FrameReader::new(recv, Expect::LaneOpen, shared.received.clone(), context.stall);
    let first = if planted(Mutant::LaneMustOpenAtOnce) {
        timeout(context.stall, reader.first()).await.unwrap_or_else(|_| Err(End::us(CloseCode::Timeout, "planted")))
    } else {
        reader.first().await
    };
    let rank = match first? {
        Some(Frame::LaneOpen(open)) => open.rank,
        _ => return Err(End::us(CloseCode::ProtocolViolation, "an empty stream")),
    };
    let opened_again = || End::us(CloseCode::ProtocolViolation, format!("the lane of rank {rank} was opened again"));
    let queue = shared.open_acks(rank).ok_or_else(opened_again)?;
    let writer = FrameWriter::new(send, acks_priority(rank), shared.sent.clone(), context.stall);
    let write_acks = async {
        let _draining = context.writers.token();
        writer.pump(queue, &context.drain).await
    };
    tokio::try_join!(read_transfers(&context, rank, reader), write_acks)?;
    Ok(())
}

async fn read_transfers(context: &Context, rank: u8, mut reader: FrameReader) -> Result<(), End> {
    let mut expected = 1u64;
    let rooms = context.room.lane(context.shared.role);
    while let Some(frame) = reader.next().await? {
        let Frame::Transfer(transfer) = frame else { continue };
        // [LANE-1]
        if transfer.seq != expected && !planted(Mutant::SequenceUnchecked) {
            let detail = format!("transfer {} came where {expected} was due", transfer.seq);
            return Err(End::us(CloseCode::ProtocolViolation, detail));
        }
        expected += 1;
        hand_over(context, &rooms, rank, transfer).await?;
    }
    Ok(())
}

/// Waits for room, then for the run loop: meanwhile the stream is not read, and QUIC stops the peer.
async fn hand_over(context: &Context, rooms: &LaneRooms, rank: u8, transfer: Transfer) -> Result<(), End> {
    let room = {
        let _held = context.shared.received.hold();
        rooms.take(if planted(Mutant::RoomUncounted) { 0 } else { transfer.envelope.len() }).await
    };
    context.emit(LinkEvent::Transfer { link: context.shared.id, rank, transfer, room }).await
}
