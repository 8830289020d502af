//! What receipts say, as facts, with a warning where their order cannot be right.

use std::collections::BTreeMap;

use super::case::CLOCK_TOLERANCE;
use super::verdict::Fact;
use crate::envelope::Header;
use crate::hash::Hash;
use crate::ids::{AgencyId, NodeId};
use crate::receipt::{CustodyLeaf, DeliveryLeaf, ReceiptBody, SignedReceipt, Statement};
use crate::roster::RosterVersion;
use crate::time::Timestamp;

/// What receipts have said so far, in the order of their times.
pub(super) struct Told {
    created: Timestamp,
    /// When a recipient had the message, and the hash of the receipt that says so.
    delivered: BTreeMap<AgencyId, (Timestamp, Hash)>,
    /// Which relays had it when, under which roster.
    pub(super) custody: Vec<(NodeId, RosterVersion, Timestamp)>,
}

impl Told {
    pub(super) const fn new(created: Timestamp) -> Self {
        Self { created, delivered: BTreeMap::new(), custody: Vec::new() }
    }

    pub(super) fn facts(&mut self, header: &Header, receipt: &SignedReceipt, statement: &Statement) -> Vec<Fact> {
        let by = statement.body().issuer.clone();
        match statement {
            Statement::Custody(body, leaves) => {
                leaves.iter().flat_map(|leaf| self.custody(header, body, leaf)).collect()
            }
            Statement::Delivered(_, leaves) => {
                let tell = |leaf: &DeliveryLeaf| {
                    self.delivered.insert(leaf.recipient.clone(), (leaf.time, receipt.hash()));
                    let fact = Fact::Delivered { recipient: leaf.recipient.clone(), opened: leaf.opened };
                    Self::with_time(fact, "delivered", &by, leaf.time, self.created)
                };
                leaves.iter().flat_map(tell).collect()
            }
            Statement::Read(body, facts) => {
                let recipient = facts.recipient.clone();
                let delivery = self.delivered.get(&recipient).filter(|(_, hash)| *hash == facts.delivery);
                let after = delivery.map_or(self.created, |(at, _)| *at);
                let warning = delivery.is_none().then(|| Fact::ReadWithoutDelivery { recipient: recipient.clone() });
                let mut told = Self::with_time(Fact::Read { recipient }, "read", &by, body.time, after);
                told.extend(warning);
                told
            }
            Statement::Refused(body, facts) => {
                let (issuer, recipient) = (by.clone(), facts.recipient.clone());
                let fact = Fact::Refused { issuer, recipient, reason: facts.reason };
                Self::with_time(fact, "refused", &by, body.time, self.created)
            }
        }
    }

    fn custody(&mut self, header: &Header, body: &ReceiptBody, leaf: &CustodyLeaf) -> Vec<Fact> {
        let recipient = |index: &u16| header.recipients.get(usize::from(*index)).map(|recipient| recipient.id.clone());
        self.custody.push((body.issuer.clone(), body.roster_version, leaf.time));
        let fact = Fact::Custody {
            relay: body.issuer.clone(),
            received_from: leaf.received_from.clone(),
            recipients: leaf.indices.iter().filter_map(recipient).collect(),
        };
        Self::with_time(fact, "taken into custody", &body.issuer, leaf.time, self.created)
    }

    /// The fact, its time, and a warning if that is before `after`.
    fn with_time(fact: Fact, event: &'static str, by: &NodeId, at: Timestamp, after: Timestamp) -> Vec<Fact> {
        let mut facts = vec![fact, Fact::Time { event, by: by.clone(), at }];
        if at.after(CLOCK_TOLERANCE) < after {
            facts.push(Fact::TimeOrder { event, by: by.clone() });
        }
        facts
    }
}
