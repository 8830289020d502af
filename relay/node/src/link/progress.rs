//! Telling a slow link from one that stands still.
//!
//! A frame may wait long: bulk waits while flash has the link, and a busy link is not a dead one. So a frame is late
//! only if hardly anything moved on its whole link meanwhile. That also ends a peer that sends or reads a byte now
//! and then.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use liaison_protocol::frame::CloseCode;
use liaison_protocol::mutant::{Mutant, planted};
use tokio::time::{Instant, timeout_at};

use super::end::End;

/// What must move on a link while a frame waits, for the frame to wait on.
const MOVED_BYTES_MIN: u64 = 4096;

/// What has moved in one direction of a link.
#[derive(Debug, Default)]
pub(super) struct Progress {
    bytes: AtomicU64,
    held: AtomicU32,
}

impl Progress {
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// While this lives, it is we who stop the link: nothing counts as late.
    pub(super) fn hold(&self) -> Held<'_> {
        self.held.fetch_add(1, Ordering::Relaxed);
        Held(self)
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed) > 0
    }
}

/// Registration of a wait on our side.
pub(super) struct Held<'a>(&'a Progress);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // What waited has moved now.
        self.0.bytes.fetch_add(MOVED_BYTES_MIN, Ordering::Relaxed);
        self.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits for one frame, or one batch of frames, to get through.
#[derive(Debug)]
pub(super) struct Patience {
    progress: Arc<Progress>,
    span: Duration,
    deadline: Instant,
    seen: u64,
}

impl Patience {
    pub(super) fn new(progress: Arc<Progress>, span: Duration) -> Self {
        let seen = progress.bytes();
        Self { progress, span, deadline: Instant::now() + span, seen }
    }

    /// A new frame begins.
    pub(super) fn restart(&mut self) {
        self.seen = self.progress.bytes();
        self.deadline = Instant::now() + self.span;
    }

    /// Of the link.
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(super) fn moved(&self, bytes: usize) {
        self.progress.add(bytes);
    }

    /// Waits for a part of the frame ([LINK-5]).
    ///
    /// # Errors
    /// The frame stands still, and so does its link.
    pub(super) async fn wait<F: Future>(&mut self, part: F) -> Result<F::Output, End> {
        let mut part = pin!(part);
        loop {
            if let Ok(done) = timeout_at(self.deadline, &mut part).await {
                return Ok(done);
            }
            let moved = self.progress.bytes().saturating_sub(self.seen);
            if moved < MOVED_BYTES_MIN && !self.progress.is_held() && !planted(Mutant::StandstillEndless) {
                let seconds = self.span.as_secs_f32();
                return Err(End::us(CloseCode::Timeout, format!("a frame stood still for {seconds} s")));
            }
            self.restart();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const SPAN: Duration = Duration::from_millis(20);

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_stands_still_alone_is_late() {
        let mut patience = Patience::new(Arc::default(), SPAN);
        let end = patience.wait(pending::<()>()).await.unwrap_err();
        assert_eq!(end.code, CloseCode::Timeout);
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_does_not_help() {
        let mut patience = Patience::new(Arc::default(), SPAN);
        let trickle = async {
            for _ in 0..10 {
                patience.wait(tokio::time::sleep(SPAN / 4)).await?;
                patience.moved(1);
            }
            Ok::<_, End>(())
        };
        assert!(trickle.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_waits_while_its_link_moves_or_we_hold_it() {
        let progress = Arc::<Progress>::default();
        let mut patience = Patience::new(progress.clone(), SPAN);
        let others = async {
            for _ in 0..6 {
                tokio::time::sleep(SPAN / 2).await;
                progress.add(MOVED_BYTES_MIN as usize);
            }
            let held = progress.hold();
            tokio::time::sleep(SPAN * 3).await;
            drop(held);
        };
        tokio::select! {
            () = others => {}
            late = patience.wait(pending::<()>()) => panic!("{late:?}"),
        }
    }
}
