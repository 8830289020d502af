//! From a QUIC connection to a link: whose key it is, then the hellos.

use liaison_protocol::frame::{Agreed, CloseCode, Expect, Frame, Hello, negotiate};
use liaison_protocol::{NodeId, Role};
use quinn::{Connection, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;

use super::end::End;
use super::endpoint::Inner;
use super::handle::{LinkHandle, LinkId, Queues, Shared};
use super::peers;
use super::progress::Progress;
use super::stream::{FrameReader, FrameWriter};
use super::tls::tls_key;
use super::transport::CONTROL_PRIORITY;

/// A link whose peer is proven and whose hello was good.
pub(super) struct Established {
    pub(super) shared: std::sync::Arc<Shared>,
    pub(super) queues: Queues,
    pub(super) control_reader: FrameReader,
    pub(super) control_writer: FrameWriter,
    pub(super) tls_key: [u8; 32],
    pub(super) hello: Hello,
    pub(super) agreed: Agreed,
    pub(super) dialed: bool,
}

impl Established {
    pub(super) fn handle(&self) -> LinkHandle {
        LinkHandle(self.shared.clone())
    }
}

/// Who proved their key in the handshake.
struct Proven {
    node: NodeId,
    role: Role,
    tls_key: [u8; 32],
}

/// The roster is asked again: it may have changed since the handshake began.
fn proven(inner: &Inner, connection: &Connection) -> Result<Proven, End> {
    let chain = connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    let key = chain.as_deref().and_then(|chain| chain.first()).and_then(|certificate| tls_key(certificate).ok());
    let tls_key = key.ok_or_else(|| End::us(CloseCode::NotInRoster, "no certificate"))?;
    let known = inner.peers.borrow().node_by_tls_key(&tls_key);
    let (node, role) = known.ok_or_else(|| End::us(CloseCode::NotInRoster, "no node has this key"))?;
    Ok(Proven { node, role, tls_key })
}

/// Where we were dialed: the peer speaks first, and learns nothing of us before its hello was good ([LINK-4]).
pub(super) async fn accept(inner: &Inner, connection: &Connection) -> Result<Established, End> {
    let proven = proven(inner, connection)?;
    let (send, recv) = connection.accept_bi().await?;
    let mut streams = Streams::new(inner, send, recv);
    let theirs = streams.read_hello().await?;
    let (ours, agreed) = check(inner, &proven, &theirs)?;
    streams.write_hello(ours).await?;
    Ok(streams.establish(inner, connection, proven, (theirs, agreed), false))
}

/// Where we dialed: we speak first, and the link is up when the answer is good.
pub(super) async fn dial(inner: &Inner, connection: &Connection, expected: &NodeId) -> Result<Established, End> {
    let proven = proven(inner, connection)?;
    if proven.node != *expected {
        let detail = format!("{} answers where {expected} was dialed", proven.node);
        return Err(End::us(CloseCode::WrongIdentity, detail));
    }
    let (send, recv) = connection.open_bi().await?;
    let mut streams = Streams::new(inner, send, recv);
    streams.write_hello(inner.hello()).await?;
    let theirs = streams.read_hello().await?;
    let (_, agreed) = check(inner, &proven, &theirs)?;
    Ok(streams.establish(inner, connection, proven, (theirs, agreed), true))
}

fn check(inner: &Inner, proven: &Proven, theirs: &Hello) -> Result<(Hello, Agreed), End> {
    let ours = inner.hello();
    let agreed = negotiate(&ours, theirs, &proven.node, proven.role)?;
    Ok((ours, agreed))
}

impl Inner {
    /// Our hello of the moment.
    pub(super) fn hello(&self) -> Hello {
        peers::hello(&self.me, self.role, &self.features, &self.peers)
    }
}

/// The two halves of the control stream.
struct Streams {
    reader: FrameReader,
    writer: FrameWriter,
    progress: [std::sync::Arc<Progress>; 2],
}

impl Streams {
    fn new(inner: &Inner, send: SendStream, recv: RecvStream) -> Self {
        let progress = <[std::sync::Arc<Progress>; 2]>::default();
        let [received, sent] = progress.clone();
        Self {
            reader: FrameReader::new(recv, Expect::Hello, received, inner.timing.stall),
            writer: FrameWriter::new(send, CONTROL_PRIORITY, sent, inner.timing.stall),
            progress,
        }
    }

    async fn read_hello(&mut self) -> Result<Hello, End> {
        match self.reader.next().await? {
            Some(Frame::Hello(hello)) => Ok(hello),
            _ => Err(End::us(CloseCode::ProtocolViolation, "the control stream ends before the hello")),
        }
    }

    async fn write_hello(&mut self, hello: Hello) -> Result<(), End> {
        self.writer.write(Frame::Hello(hello).encode()?).await
    }

    fn establish(
        self,
        inner: &Inner,
        connection: &Connection,
        proven: Proven,
        (hello, agreed): (Hello, Agreed),
        dialed: bool,
    ) -> Established {
        let id: LinkId = inner.next_link();
        let meter = |shared: &Shared| inner.budgets.meter(&shared.peer, shared.role, shared.rosters_asked.clone());
        let (shared, queues) = Shared::new(id, proven.node, proven.role, connection.clone(), self.progress);
        let mut control_reader = self.reader;
        control_reader.set_meter(meter(&shared));
        Established {
            shared,
            queues,
            control_reader,
            control_writer: self.writer,
            tls_key: proven.tls_key,
            hello,
            agreed,
            dialed,
        }
    }
}
