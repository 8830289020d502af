//! A hostile node: the real link code with somebody's real key, and no rules of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use liaison_node::link::{
    Endpoint, EndpointConfig, LinkEvent, LinkHandle, LinkIdentity, LinkLimits, LinkTiming, system_jitter,
};
use liaison_protocol::frame::{Ack, CloseCode, Transfer};
use liaison_protocol::{NodeId, Role, Roster};
use tokio::sync::{mpsc, watch};

use super::stage::broken;
use crate::failure::Failure;

/// A relay answers at once, or is no relay.
const PATIENCE: Duration = Duration::from_secs(10);
/// The lane of the most urgent messages.
const RANK: u8 = 0;

pub(super) struct Intruder {
    endpoint: Endpoint,
    events: mpsc::Receiver<LinkEvent>,
    handle: Option<LinkHandle>,
    last_seq: u64,
    _roster: watch::Sender<Arc<Roster>>,
}

impl Intruder {
    /// With the link key in `folder`.
    pub(super) fn new(folder: &Path, me: &str, roster: Arc<Roster>) -> Result<Self, Failure> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|error| Failure::input(&path, &error))
        };
        let identity = LinkIdentity::from_pem(&read("link.cert.pem")?, &read("link.key.pem")?).map_err(broken)?;
        let (sender, roster) = watch::channel(roster);
        let (events_in, events) = mpsc::channel(64);
        let config = EndpointConfig {
            listen: None,
            identity,
            me: me.parse::<NodeId>().map_err(broken)?,
            role: Role::Agency,
            roster,
            features: Vec::new(),
            limits: LinkLimits::default(),
            timing: LinkTiming::default(),
            jitter: system_jitter(),
        };
        let endpoint = Endpoint::bind(config, events_in).map_err(broken)?;
        Ok(Self { endpoint, events, handle: None, last_seq: 0, _roster: sender })
    }

    /// Gets a link to `relay`, or the reason why not.
    pub(super) async fn connect(&mut self, relay: &NodeId, address: &str) -> Result<(), String> {
        self.endpoint.dial(relay.clone(), vec![address.to_owned()]);
        loop {
            match self.event().await? {
                LinkEvent::Up { handle, .. } => {
                    self.handle = Some(handle);
                    return Ok(());
                }
                LinkEvent::DialFailed { reason, .. } | LinkEvent::Down { reason, .. } => return Err(reason),
                _ => {}
            }
        }
    }

    /// Offers an envelope, and gives the relay's answer to it.
    pub(super) async fn offer(&mut self, transfer: Transfer) -> Result<Ack, String> {
        self.last_seq += 1;
        let seq = self.last_seq;
        let handle = self.handle.as_ref().ok_or("there is no link")?;
        handle.transfer(RANK, Transfer { seq, ..transfer }).map_err(|error| error.to_string())?;
        loop {
            match self.event().await? {
                LinkEvent::Acks { acks, .. } => {
                    if let Some(ack) = acks.acks.into_iter().find(|ack| ack.seq == seq) {
                        return Ok(ack);
                    }
                }
                LinkEvent::Down { reason, .. } => return Err(format!("the link was closed: {reason}")),
                _ => {}
            }
        }
    }

    pub(super) async fn leave(mut self) {
        let closing = self.endpoint.close(CloseCode::Shutdown);
        tokio::pin!(closing);
        loop {
            tokio::select! {
                () = &mut closing => return,
                // Read to the end, as closing asks.
                _ = self.events.recv() => {}
            }
        }
    }

    async fn event(&mut self) -> Result<LinkEvent, String> {
        match tokio::time::timeout(PATIENCE, self.events.recv()).await {
            Ok(Some(event)) => Ok(event),
            Ok(None) => Err("the endpoint is gone".into()),
            Err(_) => Err(format!("no answer in {} s", PATIENCE.as_secs())),
        }
    }
}
