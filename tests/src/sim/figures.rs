//! What many runs add up to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::checker::Violation;
use super::network::FrameFaults;
use super::trace::{Fact, Step};
use super::world::Report;

/// Counted over runs.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Runs.
    pub seeds: u64,
    /// Runs that broke something.
    pub broken: u64,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// Discrete faults: a crash is one; what a frame goes through is counted apart.
    pub faults: BTreeMap<&'static str, u64>,
    /// Messages accepted from people, for each of their recipients.
    pub accepted: u64,
    /// Of them, those that reached an inbox.
    pub delivered: u64,
    /// Ends that senders were told of.
    pub told: u64,
    /// Messages submitted again.
    pub again: u64,
    /// Entries that a relay had lost, as a peer found by comparing.
    pub missing: u64,
    /// Frames that went over links.
    pub frames: u64,
    /// What went wrong with them.
    pub frame_faults: FrameFaults,
    /// Commits.
    pub commits: u64,
    /// Steps that the checker read.
    pub steps: u64,
}

impl Figures {
    /// Adds one run.
    pub fn add(&mut self, report: &Report, violations: &[Violation]) {
        self.seeds += 1;
        self.broken += u64::from(!violations.is_empty());
        self.simulated_ms += report.simulated_ms;
        self.frames += report.frames;
        self.frame_faults.lost += report.frame_faults.lost;
        self.frame_faults.repeated += report.frame_faults.repeated;
        self.frame_faults.overtaken += report.frame_faults.overtaken;
        self.frame_faults.held += report.frame_faults.held;
        self.steps += report.trace.steps.len() as u64;
        for (_, step) in &report.trace.steps {
            match step {
                Step::Commit { facts, .. } => {
                    self.commits += 1;
                    facts.iter().for_each(|fact| self.add_fact(fact));
                }
                Step::Fault { name } => *self.faults.entry(name).or_default() += 1,
                Step::Closed { .. } => *self.faults.entry("links closed for silence").or_default() += 1,
                Step::Missing { parts, .. } => self.missing += parts.len() as u64,
                Step::Full { .. } => *self.faults.entry("commits on a full disk").or_default() += 1,
                Step::Submitted { kind: super::trace::MailKind::Again, .. } => self.again += 1,
                _ => {}
            }
        }
    }

    fn add_fact(&mut self, fact: &Fact) {
        match fact {
            Fact::Inbox { .. } => self.delivered += 1,
            Fact::Open { attempt: 1, .. } => self.accepted += 1,
            Fact::Told { .. } => self.told += 1,
            _ => {}
        }
    }

    /// Discrete faults of all kinds.
    #[must_use]
    pub fn faults_in_all(&self) -> u64 {
        self.faults.values().sum()
    }

    /// The table that a run ends with; `took` is real time.
    #[must_use]
    pub fn table(&self, took: Duration) -> String {
        let days = self.simulated_ms / 86_400_000;
        let rate = f64::from(u32::try_from(self.seeds).unwrap_or(u32::MAX)) / took.as_secs_f64().max(0.001);
        let mut text = format!("{self}");
        text.push_str(&format!("simulated time    {days} days ({:.1} years)\n", days as f64 / 365.25));
        text.push_str(&format!("real time         {:.1} s, {rate:.1} seeds/s\n", took.as_secs_f64()));
        text
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seeds             {}", self.seeds)?;
        writeln!(f, "seeds broken      {}", self.broken)?;
        writeln!(f, "messages accepted {}, each recipient counted", self.accepted)?;
        writeln!(f, "deliveries        {}", self.delivered)?;
        writeln!(f, "ends told         {}", self.told)?;
        writeln!(f, "submitted again   {}", self.again)?;
        writeln!(f, "losses found      {}", self.missing)?;
        writeln!(f, "commits           {}", self.commits)?;
        writeln!(f, "frames            {}", self.frames)?;
        let FrameFaults { lost, repeated, overtaken, held } = self.frame_faults;
        writeln!(f, "  of them         {lost} lost, {repeated} repeated, {overtaken} overtaken, {held} held up")?;
        writeln!(f, "steps checked     {}", self.steps)?;
        writeln!(f, "faults            {}", self.faults_in_all())?;
        self.faults.iter().try_for_each(|(name, count)| writeln!(f, "  {name:<24} {count}"))
    }
}
