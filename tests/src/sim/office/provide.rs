//! What daemons have done before a run begins: made their prekeys, and exchanged them.

use std::collections::BTreeMap;
use std::task::Poll;

use liaison_client::daemon::top_up_prekeys;
use liaison_core::op::{Op, Table};
use liaison_node::bundles::{self, KnownBundle};
use liaison_node::local::Request;
use liaison_node::store::Store;
use liaison_protocol::Timestamp;
use liaison_protocol::prekey::PrekeyPublic;

use super::store::SimStore;
use super::{Desk, Ended, Errand};
use crate::sim::fixture::Federation;
use crate::sim::node::SimNode;
use crate::sim::trace::NodeNo;

/// The prekeys of every agency whose daemon has an office.
#[derive(Default)]
pub(in crate::sim) struct Keys(BTreeMap<NodeNo, KnownBundle>);

impl Keys {
    /// Every daemon has its own prekeys, and knows the others'.
    pub(in crate::sim) fn exchange(nodes: &[SimNode], federation: &Federation, seed: u64) -> Self {
        let daemons: Vec<NodeNo> = (0..nodes.len()).filter(|node| !federation.is_relay(*node)).collect();
        let mut known = BTreeMap::new();
        for node in daemons.iter().copied() {
            make(&nodes[node], node, federation, seed);
            let store = SimStore { disk: nodes[node].stored.clone(), low: std::sync::Arc::default() };
            let bundle = bundles::get(&store as &dyn Store, &federation.agency(node)).expect("it reads");
            known.insert(node, bundle.expect("it was just made"));
        }
        let put = |(node, bundle): (&NodeNo, &KnownBundle)| bundles::put(&federation.agency(*node), &bundle.frame);
        let all: Vec<Op> = known.iter().map(put).collect();
        daemons.iter().for_each(|node| nodes[*node].disk_mut().apply(all.clone()));
        Self(known)
    }

    /// What is sealed to at `created`, and the latest expiry under it.
    pub(in crate::sim) fn select(&self, node: NodeNo, created: Timestamp) -> Option<(PrekeyPublic, Timestamp)> {
        self.0.get(&node)?.select(created)
    }
}

/// The office makes its keys, over a disk that does all at once.
fn make(node: &SimNode, number: NodeNo, federation: &Federation, seed: u64) {
    let mut desk = Desk::open(node, number, federation, seed ^ number as u64, 0);
    let office = desk.office.clone();
    desk.errands.start(Errand::Task { name: "keeper" }, async move {
        top_up_prekeys(&office).await.expect("nothing is in the way");
        Ended::Task
    });
    loop {
        let (errand, polled) = desk.errands.turn().expect("its keys are made before all else waits");
        while let Ok(request) = desk.requests.try_recv() {
            if let Request::Commit { ops, reply } = request {
                let of_keys = |op: &Op| matches!(op, Op::Put { table: Table::Meta | Table::Bundles, .. });
                assert!(ops.iter().all(of_keys), "nothing else is to be done yet");
                node.disk_mut().apply(ops);
                drop(reply.send(Ok(())));
            }
        }
        if let (Errand::Task { name: "keeper" }, Poll::Ready(_)) = (errand, polled) {
            return;
        }
    }
}
