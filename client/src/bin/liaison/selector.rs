//! How people name a message: `4m7x0q`, `@last`, `@1`.

use std::str::FromStr;

use liaison_client::api::model::Id;

use crate::failure::Failure;
use crate::state::State;
use crate::text::safe_line;
use liaison_node::exit::Exit;

/// A message as named on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selector {
    /// `@last`: the message last sent from this profile.
    Last,
    /// `@N`: the Nth of this terminal's last listing.
    Listed(usize),
    /// The id or its beginning; the daemon decides whether it is unique.
    Prefix(String),
}

/// Shortest prefix that the daemon takes.
const PREFIX_CHARS_MIN: usize = 4;

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(rest) = text.strip_prefix('@') {
            return match (rest, rest.parse::<usize>()) {
                ("last", _) => Ok(Self::Last),
                (_, Ok(number)) if number > 0 => Ok(Self::Listed(number)),
                _ => Err("write @last, or @1, @2 … for a line of the last listing".into()),
            };
        }
        let prefix = text.to_ascii_lowercase();
        // Crockford's alphabet leaves out i, l, o and u.
        let is_digit = |c: char| c.is_ascii_digit() || (c.is_ascii_lowercase() && !"ilou".contains(c));
        if !prefix.chars().all(is_digit) {
            return Err(format!(
                "'{}' is no message id: they have digits and letters without i, l, o, u",
                safe_line(text)
            ));
        }
        match prefix.len() {
            0..PREFIX_CHARS_MIN => Err(format!("give at least {PREFIX_CHARS_MIN} characters of the id")),
            _ => Ok(Self::Prefix(prefix)),
        }
    }
}

impl Selector {
    /// What to put into the request's path.
    pub(crate) fn resolve(&self, state: &State) -> Result<String, Failure> {
        let unknown = |message: String| Failure::new(Exit::Data, "unknown_message", message);
        let found = |id: Option<Id>, message: &str| id.map(|id| id.to_string()).ok_or_else(|| unknown(message.into()));
        match self {
            Self::Last => found(state.last(), "no message has been sent from here yet"),
            Self::Listed(number) => {
                found(state.listed(*number), &format!("the last listing on this terminal has no line {number}"))
            }
            Self::Prefix(prefix) => Ok(prefix.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_named_by_prefix_place_or_recency() {
        assert_eq!("@last".parse(), Ok(Selector::Last));
        assert_eq!("@12".parse(), Ok(Selector::Listed(12)));
        assert_eq!("4M7X0q".parse(), Ok(Selector::Prefix("4m7x0q".into())));
        for bad in ["@", "@0", "@-1", "@first", "4m7", "", "4m7x/../", "hello!", "4m7u0"] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
    }

    #[test]
    fn places_come_from_the_last_listing() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path(), "p", "1-1".into());
        let failure = Selector::Listed(2).resolve(&state).unwrap_err();
        assert_eq!((failure.exit, failure.message.as_str()), (65, "the last listing on this terminal has no line 2"));
    }
}
