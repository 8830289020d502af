//! Erasing private prekeys that are spent: none is kept longer than need be.

use std::sync::Arc;
use std::time::Duration;

use liaison_core::op::{Op, Table};
use liaison_node::operator::OperatorHandle;
use liaison_node::status::NodeStatus;
use liaison_protocol::{NodeId, Timestamp};

use super::bear;
use super::prekeys::problem;
use crate::office::{Office, witness_place};
use crate::prekeys::PrekeyError;
use crate::problem::Answer;
use crate::shelf::{Place, ReadError, Shelf};

/// How often keys and links are looked at.
const TICK: Duration = Duration::from_secs(60);
/// A relay that has been linked for so long, and has sent nothing for [`QUIET`], holds nothing more for us.
const LINKED: Duration = Duration::from_secs(600);
const QUIET: Duration = Duration::from_secs(60);
/// One that has been linked for so long has sent what it held at the beginning, however busy it is.
const LINKED_LONG: Duration = Duration::from_secs(86_400);

pub(super) async fn run(office: Arc<Office>, operator: OperatorHandle, home: Vec<NodeId>) -> Answer<()> {
    loop {
        match tidy(&office, &operator, &home).await {
            Ok(()) => office.clock.idle(TICK).await,
            Err(problem) => bear(&office, problem).await?,
        }
    }
}

/// Writes down which relays are drained, and erases what is spent.
async fn tidy(office: &Arc<Office>, operator: &OperatorHandle, home: &[NodeId]) -> Answer<()> {
    let status = operator.status().await?;
    let (now, roster) = (office.now(), office.roster());
    let home = office.home(home, &roster);
    let drained: Vec<NodeId> = home.iter().filter(|relay| office.is_drained(&status, relay, now)).cloned().collect();
    // By others' word as well: a clock that has jumped ahead has drained nothing then.
    let witnessed = office.witnessed();
    let mut ops: Vec<Op> = drained.iter().map(|relay| office.drained(relay, now.min(witnessed))).collect();
    ops.push(Shelf::put_clear(witness_place(), &witnessed));
    office.node.commit(ops).await?;
    let (for_worker, home) = (Arc::clone(office), home.to_vec());
    let ops = crate::blocking(move || for_worker.erase_keys(&home, witnessed, now)).await?.map_err(problem)?;
    Ok(office.node.commit(ops).await?)
}

impl Office {
    fn is_drained(&self, status: &NodeStatus, relay: &NodeId, now: Timestamp) -> bool {
        let link = status.links.iter().find(|link| link.peer == *relay && link.up);
        let Some(since) = link.and_then(|link| link.since_ms) else { return false };
        let (linked, quiet) = (now.since(since), now.since(self.last_taken()));
        linked >= LINKED_LONG || (linked >= LINKED && quiet >= QUIET)
    }

    /// Writes down that a home relay holds nothing for us at `now`.
    pub(crate) fn drained(&self, relay: &NodeId, now: Timestamp) -> Op {
        Shelf::put_clear(drain_place(relay), &now)
    }

    fn erase_keys(&self, home: &[NodeId], witnessed: Timestamp, now: Timestamp) -> Result<Vec<Op>, PrekeyError> {
        let drained = |relay| self.shelf.get_clear::<Timestamp>(&drain_place(relay));
        let drained = home.iter().map(drained).collect::<Result<Vec<_>, ReadError>>()?;
        // One that was never drained keeps every key.
        let earliest = drained.into_iter().collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().min());
        self.keyring.erase_spent(earliest, witnessed, now)
    }
}

fn drain_place(relay: &NodeId) -> Place {
    Place::new(Table::Meta, b'd', &[relay.as_str().as_bytes()])
}
