//! Where a message went: hops, recipients and receipts.

use liaison_protocol::{AgencyId, NodeId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Direction, Id, MessageState, Precedence, Time, Tlp};

/// How far one recipient's copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecipientState {
    /// In the outbox.
    Outbox,
    /// At a relay.
    Custody,
    /// In the recipient's inbox, by its delivery receipt.
    Delivered,
    /// Read, by its read receipt.
    Read,
    /// Expired before it arrived; a signed notice says so.
    Expired,
    /// Refused for good.
    Refused,
    /// Called back.
    Cancelled,
    /// From a newer daemon.
    #[serde(other)]
    Unknown,
}

/// One recipient of a sent message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecipientStatus {
    /// Who.
    #[schema(value_type = String)]
    pub agency: AgencyId,
    /// How far.
    pub state: RecipientState,
    /// Last known holder of its copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub holder: Option<NodeId>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// In a sentence: what it waits for, or why it failed.
    #[serde(default)]
    pub detail: String,
    /// When the next try is due, if it waits for one here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try: Option<Time>,
}

/// What happened at a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Signed, sealed and durable at the sender.
    Outbox,
    /// A relay took custody.
    Custody,
    /// Durable in the recipient's inbox.
    Inbox,
    /// Read by the recipient.
    Read,
    /// Not there yet.
    Waiting,
    /// Refused.
    Refused,
    /// Expired.
    Expired,
    /// Called back by the sender.
    Cancelled,
    /// Sealed anew to another key of the recipient.
    Resealed,
    /// Sent again as it is: its holder has lost it, or nothing was heard for long.
    Resubmitted,
    /// From a newer daemon.
    #[serde(other)]
    Unknown,
}

/// One step of a message's way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hop {
    /// When, by that node's clock. Absent while it has not happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// Where: a relay, or an agency's daemon.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// What.
    pub stage: Stage,
    /// For which recipients.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub recipients: Vec<AgencyId>,
    /// A signed receipt says so, and its signature and place in the tree were checked. (One's own outbox: always.)
    pub verified: bool,
    /// In a few words: `receipt ok`, `agency offline since 13:40, next hand-over on its return`.
    #[serde(default)]
    pub detail: String,
}

/// A later envelope of a sent message: the same content, sealed again for a recipient that could not open the first one.
/// The message keeps its id, here and at its recipients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// The envelope's own id. It names the message wherever an id is asked for.
    pub id: Id,
    /// When it was sealed.
    pub at: Time,
    /// For which recipients.
    #[schema(value_type = Vec<String>)]
    pub recipients: Vec<AgencyId>,
}

/// `GET /v1/messages/{id}/custody`: hop by hop in the order of hand-over, what is still to come last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CustodyTrace {
    /// The message.
    pub id: Id,
    /// Its subject.
    pub subject: String,
    /// Its mark.
    pub tlp: Tlp,
    /// Its precedence.
    pub precedence: Precedence,
    /// When it was sent.
    pub created: Time,
    /// When custody ends.
    pub expires: Time,
    /// Where it stands as a whole.
    pub state: MessageState,
    /// The way.
    pub hops: Vec<Hop>,
    /// Later envelopes of the message, oldest first.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// Each recipient, `to` first.
    pub recipients: Vec<RecipientStatus>,
}

/// What a receipt says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptKind {
    /// A relay holds it.
    Custody,
    /// The recipient has it.
    Delivery,
    /// The recipient has read it.
    Read,
    /// It cannot be delivered.
    NonDelivery,
    /// From a newer daemon.
    #[serde(other)]
    Unknown,
}

/// One signed receipt about a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReceiptView {
    /// What it says.
    pub kind: ReceiptKind,
    /// Who signed it.
    #[schema(value_type = String)]
    pub issuer: NodeId,
    /// When, by the issuer's clock.
    pub at: Time,
    /// For which recipients.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub recipients: Vec<AgencyId>,
    /// The issuer's receipt number: it rises, without gaps between two starts of the issuer.
    pub number: u64,
    /// The signing key's id, 16 hexadecimal digits.
    pub key: String,
    /// Signature, tree and roster agree.
    pub verified: bool,
    /// Why not, or why it was not delivered.
    #[serde(default)]
    pub detail: String,
}

/// `GET /v1/messages/{id}/receipts`: custody in the order of hand-over, then what recipients signed. `GET /v1/messages/{id}/evidence` gives them as one file that a
/// third party verifies with nothing but the federation's root keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Receipts {
    /// The message.
    pub id: Id,
    /// Sent or received. The receipts of a received message are its sender's: none are here.
    #[serde(default = "sent")]
    pub direction: Direction,
    /// All receipts held here.
    pub receipts: Vec<ReceiptView>,
    /// Every recipient's delivery receipt is in and verified. Never of a received message.
    pub complete: bool,
    /// Recipients whose delivery receipt, or notice, is still to come.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub awaited: Vec<AgencyId>,
    /// Recipients that will not get the message: it expired, was refused or cancelled for them.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub undelivered: Vec<AgencyId>,
}

const fn sent() -> Direction {
    Direction::Out
}
