//! How an agency's daemon asks the run loop of its node. The seam's types are the driver's.

use std::fmt;
use std::sync::Arc;

use liaison_core::op::Op;
use liaison_protocol::envelope::VerifiedEnvelope;
use liaison_protocol::{MessageId, NodeId};
use tokio::sync::{mpsc, oneshot};

pub use liaison_driver::agency::*;

use crate::store::Store;

/// Requests that wait for the run loop. Full: whoever asks waits.
pub const REQUESTS_MAX: usize = 1024;

/// Answers a request, once what it asked for is durable.
pub type Reply = oneshot::Sender<Result<Answer, RequestError>>;

/// A request, and who waits for its answer.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub request: Request,
    /// Answered once what it asked for is durable; `None` if nobody waits.
    pub reply: Option<Reply>,
}

/// Asks the run loop, and reads its store. Cheap to clone.
#[derive(Clone)]
pub struct NodeHandle {
    requests: mpsc::Sender<Asked>,
    store: Arc<dyn Store>,
}

/// The run loop's end of its [`NodeHandle`]s.
pub type Requests = mpsc::Receiver<Asked>;

impl NodeHandle {
    /// A handle, and the end that the run loop reads.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> (Self, Requests) {
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        (Self { requests, store }, receiver)
    }

    /// For reads. They block on the disk.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Queues an envelope of this node's own and commits `ops` with it. On return both are durable.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn submit(&self, envelope: VerifiedEnvelope, attempt: u8, ops: Vec<Op>) -> Result<(), RequestError> {
        self.submit_again(envelope, attempt, Vec::new(), ops).await
    }

    /// As [`NodeHandle::submit`], by another home relay than those that have `tried` it, if one is linked.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn submit_again(
        &self,
        envelope: VerifiedEnvelope,
        attempt: u8,
        tried: Vec<NodeId>,
        ops: Vec<Op>,
    ) -> Result<(), RequestError> {
        self.ask(Request::Submit { envelope: Box::new(envelope), attempt, tried, ops }).await.map(drop)
    }

    /// Asks along its path where an envelope is. The answer, if any, comes as [`OwnEvent::Answer`].
    ///
    /// # Errors
    /// [`RequestError::Stopping`].
    pub async fn inquire(&self, id: MessageId, index: u16) -> Result<(), RequestError> {
        self.tell(Request::Inquire { id, index }).await
    }

    /// Commits records. On return they are durable.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn commit(&self, ops: Vec<Op>) -> Result<(), RequestError> {
        if ops.is_empty() {
            return Ok(());
        }
        self.ask(Request::Commit { ops }).await.map(drop)
    }

    /// Withdraws what is queued here of an envelope, for one recipient or for all, and commits `ops` with it if there was
    /// anything. Returns the recipients' places whose entries were withdrawn.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn cancel(&self, id: MessageId, index: Option<u16>, ops: Vec<Op>) -> Result<Vec<u16>, RequestError> {
        match self.ask(Request::Cancel { id, index, ops }).await? {
            Answer::Withdrawn(places) => Ok(places),
            Answer::Done | Answer::Going(_) => Ok(Vec::new()),
        }
    }

    /// Tries at once what waits, one envelope or all. Returns how many entries were set going.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn retry(&self, id: Option<MessageId>) -> Result<u64, RequestError> {
        match self.ask(Request::Retry { id }).await? {
            Answer::Going(entries) => Ok(entries),
            Answer::Done | Answer::Withdrawn(_) => Ok(0),
        }
    }

    /// Offers this agency's bundle, as it stands in the store, to the relays.
    ///
    /// # Errors
    /// [`RequestError::Stopping`].
    pub async fn publish_bundle(&self) -> Result<(), RequestError> {
        self.tell(Request::PublishBundle).await
    }

    async fn tell(&self, request: Request) -> Result<(), RequestError> {
        self.requests.send(Asked { request, reply: None }).await.map_err(|_| RequestError::Stopping)
    }

    async fn ask(&self, request: Request) -> Result<Answer, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Asked { request, reply: Some(reply) }).await.map_err(|_| RequestError::Stopping)?;
        answer.await.unwrap_or(Err(RequestError::Stopping))
    }
}

impl fmt::Debug for NodeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeHandle")
    }
}
