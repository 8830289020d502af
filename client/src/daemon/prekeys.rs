//! Keeping prekeys: made, and published, as many days ahead as others may need them.

use std::sync::Arc;
use std::time::Duration;

use liaison_protocol::limits;
use liaison_protocol::roster::RosterVersion;

use super::bear;
use crate::api::model::{Problem, ProblemCode};
use crate::office::Office;
use crate::prekeys::{PrekeyError, TopUp};
use crate::problem::Answer;

/// How often the calendar is looked at.
const TICK: Duration = Duration::from_secs(60);

pub(super) async fn run(office: Arc<Office>) -> Answer<()> {
    let mut roster = office.roster.clone();
    let mut vouched = Vouched::default();
    loop {
        let version = roster.borrow_and_update().version();
        if let Err(problem) = turn(&office, &mut vouched, version).await {
            bear(&office, problem).await?;
            continue;
        }
        tokio::select! {
            biased;
            // A longer lifetime needs a new bundle; and keys that mail waits under may have lost their signer.
            changed = roster.changed() => if changed.is_err() {
                return Ok(());
            },
            () = office.wake.prekeys.notified() => {}
            () = office.clock.idle(TICK) => {}
        }
    }
}

/// Under which roster the outbox was looked through, and how often: twice, the second time for what was being sealed
/// under the roster before.
#[derive(Default)]
struct Vouched {
    version: Option<RosterVersion>,
    times: u8,
}

async fn turn(office: &Arc<Office>, vouched: &mut Vouched, version: RosterVersion) -> Answer<()> {
    top_up(office).await?;
    if vouched.version != Some(version) {
        *vouched = Vouched { version: Some(version), times: 0 };
    }
    if vouched.times < 2 {
        office.seal_the_unvouched_anew().await?;
        vouched.times += 1;
    }
    Ok(())
}

/// Makes and publishes what the calendar wants and this agency does not hold.
async fn top_up(office: &Arc<Office>) -> Answer<()> {
    let for_worker = Arc::clone(office);
    let top_up = office.costly(move || for_worker.plan_keys()).await?.map_err(problem)?;
    if let Some(mut top_up) = top_up {
        office.node.commit(std::mem::take(&mut top_up.ops)).await?;
        let for_worker = Arc::clone(office);
        crate::blocking(move || for_worker.keyring.confirm(top_up)).await?.map_err(problem)?;
        office.node.publish_bundle().await?;
        tracing::info!("prekeys published");
    }
    Ok(())
}

impl Office {
    fn plan_keys(&self) -> Result<Option<TopUp>, PrekeyError> {
        let lifetime = self.roster().agency(&self.me).map_or(limits::LIFETIME_DEFAULT, |agency| agency.max_ttl);
        self.keyring.plan(lifetime, &*self.signer, self.witnessed(), self.now())
    }
}

pub(super) fn problem(error: PrekeyError) -> Problem {
    match error {
        PrekeyError::Read(error) => error.into(),
        other => Problem::new(ProblemCode::StoreFault, other.to_string()),
    }
}
