//! What systemd is told. Elsewhere nobody listens, and nothing happens.

use std::time::Duration;

use liaison_node::operator::OperatorHandle;
use sd_notify::{NotifyState, notify};

/// Serving, or serving again after a reload.
pub(super) fn ready(status: &str) {
    say(&[NotifyState::Ready, NotifyState::Status(status)]);
}

pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => say(&[NotifyState::Reloading, now]),
        Err(_) => say(&[NotifyState::Reloading]),
    }
}

pub(super) fn stopping() {
    say(&[NotifyState::Stopping]);
}

/// Says, as often as systemd wants it, that the run loop answers. A run loop that does not answer is restarted.
pub(super) async fn watchdog(operator: OperatorHandle) {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    let period = (period / 2).max(Duration::from_millis(100));
    let mut ticks = tokio::time::interval(period);
    loop {
        ticks.tick().await;
        if tokio::time::timeout(period, operator.status()).await.is_ok_and(|status| status.is_ok()) {
            say(&[NotifyState::Watchdog]);
        }
    }
}

fn say(state: &[NotifyState<'_>]) {
    if let Err(error) = notify(state) {
        tracing::debug!(%error, "systemd was not told");
    }
}
