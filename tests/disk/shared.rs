//! A federation whose every node has a disk that can lose its power.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use liaison_tests::disk::{Disk, Loss};
use liaison_tests::fed::{Federation, Plan, eventually, eventually_within};

/// See the module.
pub(crate) struct Site {
    pub(crate) fed: Federation,
    disks: BTreeMap<String, Disk>,
    /// Ids by recipient.
    sent: BTreeMap<String, BTreeSet<String>>,
    /// Sender, recipient and key of everything that was offered.
    tried: Vec<[String; 3]>,
}

impl Site {
    /// Two relays, two agencies; not started.
    pub(crate) fn new() -> Self {
        let fed = Federation::make(&Plan { agencies: 2, ..Plan::default() });
        let disks = fed.nodes().into_iter().map(|node| (node.clone(), Disk::under(&fed.node_folder(&node)))).collect();
        let site = Self { fed, disks, sent: BTreeMap::new(), tried: Vec::new() };
        site.fed.nodes().iter().for_each(|node| site.plan(node, ""));
        site
    }

    pub(crate) fn start() -> Self {
        let site = Self::new();
        site.fed.start_all();
        site
    }

    /// How a node's disk fails, from the node's next start on.
    pub(crate) fn plan(&self, node: &str, plan: &str) {
        self.fed.set_environment(node, self.disks[node].environment(plan));
    }

    pub(crate) fn disk(&self, node: &str) -> &Disk {
        &self.disks[node]
    }

    /// The power of one node is cut.
    pub(crate) fn cut(&self, node: &str, seed: Option<u64>) -> Loss {
        self.fed.kill(node);
        self.disks[node].cut_power(seed)
    }

    /// Starts a node that was killed, or is now; all that it wrote is there.
    pub(crate) fn revive(&self, node: &str) {
        self.fed.kill(node);
        self.disks[node].keep_all();
        self.fed.start_node(node);
    }

    /// Sends one message and counts it. The daemon may die meanwhile: then it is started with a sound disk.
    pub(crate) fn send(&mut self, from: &str, to: &str, key: &str) {
        eventually(&format!("{from} to take {key}"), || {
            if !self.fed.runs(from) {
                self.fed.await_end(from);
                self.disks[from].cut_power(None);
                self.plan(from, "");
                self.fed.start_node(from);
            }
            self.try_send(from, to, key).then_some(())
        });
    }

    /// Sends one message and counts it, if the daemon says that it is accepted. Whether it was all the same is asked
    /// at the end: the same key names the same message.
    pub(crate) fn try_send(&mut self, from: &str, to: &str, key: &str) -> bool {
        self.tried.push([from, to, key].map(str::to_owned));
        let Some(id) = self.submit(from, to, key) else { return false };
        self.sent.entry(to.into()).or_default().insert(id);
        true
    }

    fn submit(&self, from: &str, to: &str, key: &str) -> Option<String> {
        let arguments =
            ["--json", "send", "--yes", "--tlp", "green", "-s", key, "--body", key, "--id-key", key, "--to", to];
        let ended = self.fed.liaison(from, &arguments);
        match ended.code {
            0 => ended.objects().remove(0)["id"].as_str().map(str::to_owned),
            69 | 74 | 75 => None,
            _ => panic!("{ended:?}"),
        }
    }

    /// Messages that were accepted.
    pub(crate) fn sent_count(&self) -> usize {
        self.sent.values().map(BTreeSet::len).sum()
    }

    /// Everything that was accepted arrives, once, and nothing else does.
    pub(crate) fn check(mut self) {
        // An answer that was lost: asked again under its key it names the message, old or new.
        for [from, to, key] in std::mem::take(&mut self.tried) {
            let id = eventually(&format!("{from} to know {key}"), || self.submit(&from, &to, &key));
            self.sent.entry(to).or_default().insert(id);
        }
        for agency in self.fed.agencies() {
            eventually_within(Duration::from_secs(90), &format!("the last delivery receipt at {agency}"), || {
                (self.fed.get(&agency, "/v1/status").ok()?["outbox"]["open"] == 0).then_some(())
            });
        }
        for (agency, sent) in &self.sent {
            let inbox = self.fed.inbox(agency);
            let arrived: Vec<&str> = inbox.iter().map(|item| item["id"].as_str().unwrap()).collect();
            let once: BTreeSet<String> = arrived.iter().map(|id| (*id).to_owned()).collect();
            assert_eq!(&once, sent, "at {agency}");
            assert_eq!(arrived.len(), once.len(), "twice at {agency}: {arrived:?}");
        }
    }
}

/// A number from the environment.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: a number, not {text}")))
}
