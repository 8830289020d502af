//! Carrying out what the plan says goes wrong.

use std::time::Duration;

use liaison_core::Event;
use liaison_core::event::Drain;
use liaison_core::roster_state::{Decision, Jump};

use super::disk::Disk;
use super::plan::{Fault, FaultKind, Offer, Place};
use super::trace::{NodeNo, Step};
use super::world::{What, World};

/// How long a flapping link stays up or down.
const FLAP_MS_MAX: u64 = 4_000;

impl World<'_> {
    pub(super) fn fault_begins(&mut self, fault: usize) {
        let Fault { at_ms, for_ms, kind } = self.plan.faults[fault];
        let until_ms = at_ms + for_ms;
        self.note(Step::Fault { name: kind.name() });
        match kind {
            FaultKind::Cut(a, b) => self.block_between(a, b, &[0, 1], until_ms),
            FaultKind::Stall(a, b) => {
                let Some(pair) = self.pair(a, b) else { return };
                let side = usize::from(self.node(a) != Some(self.pairs[pair].ends[0]));
                self.block(pair, &[side], until_ms);
            }
            FaultKind::Dark(region) => {
                for other in (0..self.plan.shape.relays()).filter(|other| *other != region) {
                    self.block_between(Place::Relay(region), Place::Relay(other), &[0, 1], until_ms);
                }
            }
            FaultKind::Flap(a, b) => {
                if let Some(pair) = self.pair(a, b) {
                    self.flap(pair, until_ms);
                }
            }
            FaultKind::Frames { lost, repeated, overtaken } => self.frames = (until_ms, [lost, repeated, overtaken]),
            FaultKind::Roster(change) => {
                let now = super::fixture::START.after(Duration::from_millis(self.now_ms));
                self.federation.publish(change, now);
                self.offer_newest(for_ms);
            }
            _ => self.node_fault_begins(kind, for_ms, until_ms),
        }
    }

    fn node_fault_begins(&mut self, kind: FaultKind, for_ms: u64, until_ms: u64) {
        let Some(node) = kind.place().and_then(|place| self.node(place)) else { return };
        match kind {
            FaultKind::ClockJump(_, by_ms) => self.jump(node, by_ms),
            FaultKind::Crash(_) => self.crash(node, for_ms),
            FaultKind::DiskLost(_) => {
                self.crash(node, for_ms);
                self.replace_disk(node, Disk::default(), None);
            }
            FaultKind::Drain(_) => {
                self.nodes[node].faults.drain_until = until_ms;
                self.drain(node, true);
            }
            FaultKind::Full(_, percent) => self.nodes[node].faults.full = (until_ms, percent),
            FaultKind::Gone(_) => {
                self.nodes[node].faults.gone = true;
                self.crash(node, for_ms);
            }
            FaultKind::KeysLost(_) => {
                self.crash(node, for_ms);
                self.lose_keys(node);
            }
            FaultKind::Low(_) => {
                self.nodes[node].faults.low_until = until_ms;
                let life = self.nodes[node].life;
                self.housekeep(node, life);
            }
            FaultKind::Offer(_, offer) => self.offer_false(node, offer),
            FaultKind::Restored(_) => {
                let backup = self.nodes[node].disk().clone();
                self.nodes[node].faults.backup = Some(backup);
            }
            FaultKind::Rot(_) => {
                self.nodes[node].disk_mut().rot();
                self.nodes[node].faults.rot_down_ms = for_ms;
            }
            FaultKind::Slow(_, ms) => self.nodes[node].faults.slow = (until_ms, ms),
            FaultKind::Stolen(_) => self.publish_stolen(node),
            FaultKind::SyncFails(_) => self.nodes[node].faults.sync_fails = Some(for_ms),
            FaultKind::Trick(_, trick, percent) => {
                self.nodes[node].faults.tricks.push((trick, percent, until_ms));
                self.note(Step::Hostile { node, hostile: true });
                if trick.is_unasked() {
                    (1..6).for_each(|part| self.after(for_ms * part / 6, What::Mischief { node, trick }));
                }
            }
            _ => {}
        }
    }

    pub(super) fn fault_ends(&mut self, fault: usize) {
        let kind = self.plan.faults[fault].kind;
        let Some(node) = kind.place().and_then(|place| self.node(place)) else { return };
        match kind {
            FaultKind::ClockJump(_, by_ms) => self.jump(node, -by_ms),
            FaultKind::Drain(_) if self.now_ms >= self.nodes[node].faults.drain_until => self.drain(node, false),
            FaultKind::Low(_) => {
                let life = self.nodes[node].life;
                self.housekeep(node, life);
            }
            FaultKind::Offer(_, Offer::Fork) => {
                // An operator settles it, for the first.
                let rosters = &mut self.nodes[node].rosters;
                if let Some((follow, decision)) = rosters.settle(rosters.trusted().hash()) {
                    rosters.settled(follow, decision);
                }
                self.offer_newest(1_000);
            }
            FaultKind::Restored(_) => {
                let Some(backup) = self.nodes[node].faults.backup.take() else { return };
                self.crash(node, 1_000);
                let batch = backup.batch;
                self.replace_disk(node, backup, Some(batch));
            }
            // Whatever has not been read by now is found when the disk is looked through.
            FaultKind::Rot(_) => self.rotten(node),
            FaultKind::SyncFails(_) => self.nodes[node].faults.sync_fails = None,
            FaultKind::Trick(..) if !self.nodes[node].is_hostile(self.now_ms) => {
                self.note(Step::Hostile { node, hostile: false });
            }
            _ => {}
        }
    }

    fn pair(&self, a: Place, b: Place) -> Option<usize> {
        self.pair_of(self.node(a)?, self.node(b)?)
    }

    fn block_between(&mut self, a: Place, b: Place, sides: &[usize], until_ms: u64) {
        if let Some(pair) = self.pair(a, b) {
            self.block(pair, sides, until_ms);
        }
    }

    pub(super) fn flap(&mut self, pair: usize, until_ms: u64) {
        if self.now_ms < until_ms {
            self.drop_link(pair);
            let ms = self.rng.range(1, FLAP_MS_MAX);
            self.after(ms, What::Flap { pair, until_ms });
        }
    }

    fn crash(&mut self, node: NodeNo, down_ms: u64) {
        if self.nodes[node].is_up() {
            let kept = self.rng.percent(50);
            self.note(Step::Crashed { node, kept });
            self.stop(node, kept, down_ms);
        }
    }

    /// The node stops by itself: its disk has failed.
    pub(super) fn die(&mut self, node: NodeNo, why: &'static str, kept: bool, down_ms: u64) {
        self.note(Step::Died { node, kept, why });
        self.stop(node, kept, down_ms);
    }

    /// A checksum does not match: the node stops, and its disk is replaced.
    pub(super) fn rotten(&mut self, node: NodeNo) {
        if !self.nodes[node].disk().is_rotten() {
            return;
        }
        let down_ms = self.nodes[node].faults.rot_down_ms;
        if self.nodes[node].is_up() {
            self.die(node, "stored bytes have changed", false, down_ms);
        }
        self.replace_disk(node, Disk::default(), None);
    }

    fn stop(&mut self, node: NodeNo, kept: bool, down_ms: u64) {
        self.call_again(node);
        self.nodes[node].stop(kept);
        self.lose_links(node);
        self.after(down_ms.max(10), What::Start { node });
    }

    fn replace_disk(&mut self, node: NodeNo, disk: Disk, by: Option<u64>) {
        *self.nodes[node].disk_mut() = disk;
        self.note(Step::DiskReplaced { node, by });
    }

    fn jump(&mut self, node: NodeNo, by_ms: i64) {
        self.nodes[node].clock_ms += by_ms;
        self.note(Step::ClockJumped { node, by_ms });
        (self.nodes[node].timer_ms, self.nodes[node].round_ms) = (None, None);
        self.after(60_000, What::TellTimes { node });
        self.handle(node, Event::Timer);
        self.arm_round(node);
    }

    fn drain(&mut self, node: NodeNo, draining: bool) {
        self.note(Step::Drained { node, draining });
        self.handle(node, Event::Drain(if draining { Drain::On } else { Drain::Off }));
    }

    /// The newest roster reaches every node by its operator, some time within `for_ms`; peers may be faster.
    fn offer_newest(&mut self, for_ms: u64) {
        let newest = self.federation.rosters.last().expect("there is a first").signed().clone();
        for node in 0..self.nodes.len() {
            let ms = self.rng.range(0, for_ms + 1);
            self.after(ms, What::Offer { node, roster: newest.clone() });
        }
    }

    fn offer_false(&mut self, node: NodeNo, offer: Offer) {
        let trusted = self.nodes[node].roster().clone();
        let now = super::fixture::START.after(Duration::from_millis(self.now_ms));
        let bytes = self.federation.falsify(offer, &trusted, now);
        self.judge(node, &bytes);
    }

    /// The real rules decide; what is adopted is followed at once, and passed on.
    pub(super) fn judge(&mut self, node: NodeNo, bytes: &[u8]) {
        match self.nodes[node].rosters.judge(bytes, Jump::Limit) {
            Decision::Adopt(roster) => {
                let (version, genuine) =
                    (roster.version().0, self.federation.published(roster.version(), roster.hash()));
                self.nodes[node].rosters.adopted(roster.clone());
                self.note(Step::Roster { node, version, genuine });
                self.handle(node, Event::Roster(roster.clone()));
                self.follow_roster(node);
                self.drop_strangers(node);
                self.dial_all(node);
                let links: Vec<_> = self.nodes[node].links.keys().copied().collect();
                for link in links {
                    self.transmit(node, link, super::network::Frame::Roster(roster.signed().clone()));
                }
                if self.federation.rekey(node, &roster) {
                    self.crash(node, 1_000);
                }
            }
            Decision::Fork(proof) => self.nodes[node].rosters.forked(proof),
            Decision::Older { .. } | Decision::Refuse(_) | Decision::Same => {}
        }
    }
}
