//! One link's life, from `Up` to `Down`.

use std::sync::Arc;
use std::time::Duration;

use liaison_protocol::frame::{CloseCode, Frame};
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::{NodeId, Role};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::LinkEvent;
use super::answers;
use super::end::{By, End};
use super::endpoint::Inner;
use super::handle::Shared;
use super::lane;
use super::liveness::{Liveness, Silence};
use super::meter::LinkMeter;
use super::peers::PeersNow;
use super::room::Rooms;
use super::shake::Established;
use super::stream::FrameReader;

/// How often a link to a relay is watched for answers, whoever dialed it, and any other for its meters.
const WATCH_RELAY: Duration = Duration::from_millis(250);
const WATCH: Duration = Duration::from_secs(1);

/// What the tasks of one link share.
pub(super) struct Context {
    pub(super) shared: Arc<Shared>,
    pub(super) events: mpsc::Sender<LinkEvent>,
    pub(super) room: Rooms,
    pub(super) stall: Duration,
    /// Cancelled to let what is queued arrive before the link closes.
    pub(super) drain: CancellationToken,
    /// The writers for which that wait is worth while.
    pub(super) writers: TaskTracker,
    /// The readers of what releases custody: what has arrived when the peer closes is read.
    pub(super) readers: TaskTracker,
}

impl Context {
    /// Hands an event to the run loop. While that is busy we wait and read nothing, and the peer must not be blamed.
    pub(super) async fn emit(&self, event: LinkEvent) -> Result<(), End> {
        let _held = self.shared.received.hold();
        self.events.send(event).await.map_err(|_| End::us(CloseCode::Shutdown, "the node stops"))
    }
}

/// Runs a link until it ends, and says why it did. `before` is the peer's link before this one: its `Down` comes
/// before our `Up`.
pub(super) async fn run(inner: Arc<Inner>, established: Established, before: Option<CancellationToken>) -> End {
    if let Some(before) = before
        && !planted(Mutant::UpBeforeDown)
    {
        before.cancelled().await;
    }
    let context = Arc::new(Context {
        shared: established.shared.clone(),
        events: inner.events.clone(),
        room: inner.room.clone(),
        stall: inner.timing.stall,
        drain: CancellationToken::new(),
        writers: TaskTracker::new(),
        readers: TaskTracker::new(),
    });
    let (link, peer) = (context.shared.id, context.shared.peer.clone());
    let up = LinkEvent::Up {
        link,
        peer: peer.clone(),
        role: context.shared.role,
        hello: established.hello.clone(),
        agreed: established.agreed.clone(),
        dialed: established.dialed,
        handle: established.handle(),
    };
    if let Err(end) = context.emit(up).await {
        return end;
    }
    tracing::info!(%link, %peer, dialed = established.dialed, "link up");
    let mut tasks = JoinSet::new();
    let end = serve(&inner, &context, established, &mut tasks).await;
    if end.by == By::Us
        && matches!(end.code, CloseCode::Shutdown | CloseCode::Draining)
        && !planted(Mutant::PeaceCutsOff)
    {
        context.drain.cancel();
        context.writers.close();
        // At the deadline what is left stays unsent: it is repeated on the next link.
        let _ = timeout(inner.timing.drain, context.writers.wait()).await;
    }
    if context.shared.connection.close_reason().is_some() && !planted(Mutant::LastWordsUnread) {
        // They end when they have read what there is; a run loop that is behind is not waited for any longer than a peer.
        context.readers.close();
        let _ = timeout(inner.timing.drain, context.readers.wait()).await;
    }
    if planted(Mutant::StreamsDroppedFirst) {
        tasks.shutdown().await;
    }
    // Before the streams are dropped: to the peer, a stream that we let go of is a violation, and would be its reason.
    context.shared.connection.close(end.code.code().into(), end.detail.as_bytes());
    tasks.shutdown().await;
    tracing::info!(%link, %peer, reason = %end, "link down");
    // Fails only when nobody listens any more.
    let _ = context.events.send(LinkEvent::Down { link, peer, reason: end.to_string() }).await;
    end
}

/// Starts and watches the link's tasks; returns with what ends the link.
async fn serve(
    inner: &Inner,
    context: &Arc<Context>,
    established: Established,
    tasks: &mut JoinSet<Result<(), End>>,
) -> End {
    let Established { control_reader, control_writer, mut queues, tls_key, .. } = established;
    let shared = &context.shared;
    let connection = shared.connection.clone();
    let mut watch = Watch::new(shared, inner.peers.clone(), tls_key, inner.timing.doubt);
    tasks.spawn(read_control(context.clone(), control_reader));
    tasks.spawn({
        let (context, queue) = (context.clone(), queues.control);
        let draining = context.writers.token();
        async move {
            let done = control_writer.pump(queue, &context.drain).await;
            drop(draining);
            done
        }
    });
    let mut tick = interval(if shared.role == Role::Relay { WATCH_RELAY } else { WATCH });
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            Ok(()) = queues.closing.changed() => {
                if let Some(end) = queues.closing.borrow().clone() {
                    return end;
                }
            }
            Some(done) = tasks.join_next() => match done {
                Ok(Ok(())) => {}
                Ok(Err(end)) => return end,
                Err(error) => return End::us(CloseCode::Shutdown, format!("a task of the link failed: {error}")),
            },
            Ok(()) = watch.peers.changed() => {
                if let Err(end) = watch.recheck() {
                    return end;
                }
            }
            Some(lane) = queues.new_lanes.recv() => {
                tasks.spawn(lane::send(context.clone(), lane.rank, lane.queue));
            }
            stream = connection.accept_bi() => match stream {
                Ok((send, recv)) => {
                    tasks.spawn(lane::receive(context.clone(), send, recv));
                }
                Err(error) => return error.into(),
            },
            _ = tick.tick() => {
                if let Err(end) = watch.tick(inner) {
                    return end;
                }
            }
        }
    }
}

async fn read_control(context: Arc<Context>, mut reader: FrameReader) -> Result<(), End> {
    let link = context.shared.id;
    let _reading = context.readers.token();
    while let Some(frame) = reader.next().await? {
        if let Frame::Control(frame) = frame {
            context.emit(LinkEvent::Control { link, frame }).await?;
        }
    }
    Ok(())
}

/// What is looked at again and again while a link is up.
struct Watch {
    shared: Arc<Shared>,
    peers: PeersNow,
    tls_key: [u8; 32],
    address: std::net::SocketAddr,
    liveness: Liveness,
    silence: Silence,
    doubted: bool,
    meter: LinkMeter,
}

impl Watch {
    fn new(shared: &Arc<Shared>, peers: PeersNow, tls_key: [u8; 32], doubt: Duration) -> Self {
        let mut watch = Self {
            shared: shared.clone(),
            peers,
            tls_key,
            address: shared.connection.remote_address(),
            liveness: Liveness::new(doubt),
            silence: Silence::new(Instant::now()),
            doubted: false,
            meter: LinkMeter::up(shared.peer.clone()),
        };
        // The roster may have changed since the hello: the first look must not wait for the next change.
        watch.peers.mark_changed();
        watch
    }

    /// The roster changed: is the peer's key still the peer's?
    // [ROSTER-12]
    fn recheck(&mut self) -> Result<(), End> {
        let peers = self.peers.borrow_and_update();
        let known: Option<(NodeId, Role)> = peers.node_by_tls_key(&self.tls_key);
        if known.is_some_and(|(node, role)| node == self.shared.peer && role == self.shared.role) {
            return Ok(());
        }
        let detail = format!("roster version {} no longer names this key", peers.version());
        Err(End::us(CloseCode::RosterRemoved, detail))
    }

    fn tick(&mut self, inner: &Inner) -> Result<(), End> {
        let stats = self.shared.connection.stats();
        self.meter.observe(&stats);
        let address = self.shared.connection.remote_address();
        // [LINK-7]
        if self.shared.role == Role::Relay && address != self.address {
            let detail = format!("a relay's link moved from {} to {address}", self.address);
            return Err(End::us(CloseCode::ProtocolViolation, detail));
        }
        let now = Instant::now();
        // [LINK-5]
        if self.silence.observe(&stats, now) >= inner.timing.idle && !planted(Mutant::SilenceUncounted) {
            return Err(End::network("timeout", "the peer does not answer"));
        }
        // Also where the relay dialed: it may look for us where we are no more.
        if self.shared.role == Role::Relay {
            let doubted = self.liveness.observe(&stats, answers::of(&self.shared.connection), now)
                && !planted(Mutant::DeafLinkTrusted);
            if doubted != self.doubted {
                self.doubted = doubted;
                let (link, peer) = (self.shared.id, &self.shared.peer);
                let what = if doubted { "the link does not answer" } else { "the link answers again" };
                tracing::info!(%link, %peer, "{what}");
                inner.registry.set_doubted(&self.shared.peer, self.shared.id, doubted);
            }
        }
        Ok(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.meter.observe(&self.shared.connection.stats());
    }
}
