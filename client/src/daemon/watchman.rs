//! The log of the daemon's condition: a line when a check begins to fail, and a line when all is well again. And the
//! events of links that come and go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use liaison_node::operator::OperatorHandle;
use liaison_protocol::NodeId;

use crate::api::model::{Finding, Level};
use crate::office::Office;
use crate::problem::Answer;

/// How often the checks are made. The first time after so long: a start is given time to link up.
const EVERY: Duration = Duration::from_secs(30);

pub(super) async fn run(office: Arc<Office>, operator: OperatorHandle, home: Vec<NodeId>) -> Answer<()> {
    let mut watch = Watch::default();
    loop {
        office.clock.idle(EVERY).await;
        let Ok(node) = operator.status().await else { return Ok(()) };
        office.node.commit(office.links_untold(office.now())).await?;
        let (for_worker, home) = (Arc::clone(&office), home.clone());
        let checks = crate::blocking(move || for_worker.checks(&node, &home)).await?;
        for line in watch.news(checks) {
            match line {
                Line::Fails(check) => tracing::error!(check = check.id, fix = check.fix, "{}", check.text),
                Line::Well(id) => tracing::info!(check = id, "this check is well again"),
                Line::AllClear => tracing::info!("all checks are well again"),
            }
        }
    }
}

/// What was failing at the last look, and since when the log says so.
#[derive(Default)]
struct Watch(BTreeMap<String, String>);

/// What the log says.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Fails(Finding),
    Well(String),
    AllClear,
}

impl Watch {
    /// What has changed. A failure that goes on is said once, whatever numbers its text holds.
    fn news(&mut self, checks: Vec<Finding>) -> Vec<Line> {
        let failing = checks.into_iter().filter(|check| check.level == Level::Fail);
        let failing: BTreeMap<String, Finding> = failing.map(|check| (check.id.clone(), check)).collect();
        let ended = self.0.keys().filter(|id| !failing.contains_key(*id)).cloned();
        let mut lines: Vec<Line> = ended.map(Line::Well).collect();
        if !lines.is_empty() && failing.is_empty() {
            lines.push(Line::AllClear);
        }
        let before = std::mem::take(&mut self.0);
        for (id, check) in failing {
            self.0.insert(id.clone(), check.text.clone());
            if !before.contains_key(&id) {
                lines.push(Line::Fails(check));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, level: Level, text: &str) -> Finding {
        Finding { id: id.into(), level, text: text.into(), fix: None }
    }

    #[test]
    fn a_failure_is_said_when_it_begins_and_when_it_ends() {
        let mut watch = Watch::default();
        let bad = |text: &str| check("store", Level::Fail, text);
        let well = || check("store", Level::Ok, "100 GiB free");
        assert_eq!(watch.news(vec![well()]), []);
        assert_eq!(watch.news(vec![bad("1 MiB free")]), [Line::Fails(bad("1 MiB free"))]);
        assert_eq!(watch.news(vec![bad("2 MiB free")]), [], "the same failure");
        let clock = check("clock", Level::Fail, "off");
        assert_eq!(watch.news(vec![bad("1 MiB free"), clock.clone()]), [Line::Fails(clock)]);
        assert_eq!(watch.news(vec![bad("1 MiB free")]), [Line::Well("clock".into())]);
        assert_eq!(watch.news(vec![well()]), [Line::Well("store".into()), Line::AllClear]);
        assert_eq!(watch.news(vec![check("clock", Level::Warn, "soon")]), []);
    }
}
