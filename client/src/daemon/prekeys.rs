//! Keeping prekeys: made, and published, as many days ahead as others may need them.

use std::sync::Arc;
use std::time::Duration;

use liaison_protocol::limits;

use super::bear;
use crate::api::model::{Problem, ProblemCode};
use crate::office::Office;
use crate::prekeys::{PrekeyError, TopUp};
use crate::problem::Answer;

/// How often the calendar is looked at.
const TICK: Duration = Duration::from_secs(60);

pub(super) async fn run(office: Arc<Office>) -> Answer<()> {
    let mut roster = office.roster.clone();
    loop {
        if let Err(problem) = top_up(&office).await {
            bear(&office, problem).await?;
            continue;
        }
        tokio::select! {
            biased;
            // A longer lifetime needs a new bundle.
            changed = roster.changed() => if changed.is_err() {
                return Ok(());
            },
            () = office.clock.idle(TICK) => {}
        }
    }
}

/// Makes and publishes what the calendar wants and this agency does not hold.
async fn top_up(office: &Arc<Office>) -> Answer<()> {
    let for_worker = Arc::clone(office);
    let top_up = office.costly(move || for_worker.plan_keys()).await?.map_err(problem)?;
    if let Some(mut top_up) = top_up {
        office.node.commit(std::mem::take(&mut top_up.ops)).await?;
        office.keyring.confirm(top_up);
        office.node.publish_bundle().await?;
        tracing::info!("prekeys published");
    }
    Ok(())
}

impl Office {
    fn plan_keys(&self) -> Result<Option<TopUp>, PrekeyError> {
        let lifetime = self.roster().agency(&self.me).map_or(limits::LIFETIME_DEFAULT, |agency| agency.max_ttl);
        self.keyring.plan(lifetime, &*self.signer, self.now())
    }
}

pub(super) fn problem(error: PrekeyError) -> Problem {
    match error {
        PrekeyError::Read(error) => error.into(),
        other => Problem::new(ProblemCode::StoreFault, other.to_string()),
    }
}
