//! `--fail-on`: conditions for checks that parse no output.

use std::str::FromStr;

use liaison_node::config::{Span, did_you_mean};
use liaison_node::status::{QueueStatus, Rank};
use liaison_protocol::Timestamp;

/// `oldest_flash>60s`, `depth>1000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailOn {
    rank: Option<Rank>,
    bound: Bound,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Bound {
    Depth(u64),
    Oldest(Span),
}

impl FailOn {
    pub(crate) fn holds(&self, queue: &QueueStatus, now: Timestamp) -> bool {
        let index = self.rank.and_then(|rank| Rank::ALL.iter().position(|other| *other == rank));
        let (depth, oldest) = match index {
            None => (queue.entries, queue.oldest_ms),
            Some(index) => (
                queue.by_precedence.get(index).copied().unwrap_or(0),
                queue.oldest_by_precedence_ms.get(index).copied().flatten(),
            ),
        };
        match self.bound {
            Bound::Depth(bound) => depth > bound,
            Bound::Oldest(bound) => oldest.is_some_and(|oldest| now.since(oldest) > bound.0),
        }
    }
}

impl FromStr for FailOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("'{text}' is not a condition: write for example oldest_flash>60s or depth>1000");
        let (name, bound) = text.split_once('>').ok_or_else(wrong)?;
        let (kind, rank) = match name.trim().split_once('_') {
            None => (name.trim(), None),
            Some((kind, word)) => {
                let rank = Rank::ALL.into_iter().find(|rank| rank.as_str() == word);
                let near = did_you_mean(word, Rank::ALL.iter().map(|rank| rank.as_str()));
                let unknown = || match near {
                    Some(near) => format!("unknown precedence '{word}', did you mean '{near}'?"),
                    None => wrong(),
                };
                (kind, Some(rank.ok_or_else(unknown)?))
            }
        };
        let bound = match kind {
            "depth" => Bound::Depth(bound.trim().parse().map_err(|_| wrong())?),
            "oldest" => Bound::Oldest(bound.trim().parse().map_err(|error| format!("{error}"))?),
            _ => return Err(wrong()),
        };
        Ok(Self { rank, bound })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_or_explained() {
        let depth = FailOn { rank: None, bound: Bound::Depth(1000) };
        assert_eq!("depth>1000".parse(), Ok(depth));
        let oldest = FailOn { rank: Some(Rank::Flash), bound: Bound::Oldest(Span::secs(60)) };
        assert_eq!("oldest_flash > 60s".parse(), Ok(oldest));
        let said = "oldest_flsh>60s".parse::<FailOn>().unwrap_err();
        assert_eq!(said, "unknown precedence 'flsh', did you mean 'flash'?");
        for bad in ["", "depth", "depth>x", "age>1s", "oldest>60", "oldest_flash<1s"] {
            assert!(bad.parse::<FailOn>().is_err(), "{bad}");
        }
    }
}
