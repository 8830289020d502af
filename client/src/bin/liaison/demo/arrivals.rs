//! What came into an inbox, in its order.

use std::collections::BTreeMap;

use liaison_client::api::model::{Id, ListQuery, MessageSummary, Precedence};

use super::stage::{Sent, Stage, check};
use crate::failure::Failure;

/// Everything in `agency`'s inbox, oldest first.
pub(super) async fn inbox(stage: &Stage, agency: &str) -> Result<Vec<MessageSummary>, Failure> {
    let query = ListQuery { limit: Some(1000), ..ListQuery::default() };
    Ok(stage.federation.client(agency).inbox(&query).await?.items)
}

/// Each of `sent` is there once, and nothing else.
pub(super) fn exactly_once(agency: &str, sent: &[Sent], arrived: &[MessageSummary]) -> Result<(), Failure> {
    let mut found: BTreeMap<Id, Vec<Precedence>> = BTreeMap::new();
    for message in arrived {
        found.entry(message.id).or_default().push(message.precedence);
    }
    for message in sent {
        let copies = found.remove(&message.id).unwrap_or_default();
        let id = message.id.short();
        check(copies.len() == 1, || format!("{agency} has {id} {} times", copies.len()))?;
        check(copies.contains(&message.precedence), || format!("{agency}: {id} was sent {}", message.precedence))?;
    }
    check(found.is_empty(), || format!("{agency} has {} messages that no agency sent", found.len()))
}

/// More urgent ones came before less urgent ones.
pub(super) fn in_order(agency: &str, arrived: &[MessageSummary]) -> Result<(), Failure> {
    let order: Vec<&str> = arrived.iter().map(|message| message.precedence.as_str()).collect();
    let sorted = arrived.windows(2).all(|pair| match pair {
        [earlier, later] => earlier.precedence >= later.precedence,
        _ => true,
    });
    check(sorted, || format!("{agency}: order by precedence not kept: {}", order.join(", ")))
}
