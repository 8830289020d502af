//! `config.toml` and `profiles/NAME.toml`.

use std::io;
use std::path::Path;

use serde::Deserialize;

use super::Places;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::suggest;

/// Both files have the same keys; `profile` counts in `config.toml` only. Values stay texts until their turn comes,
/// so that a value that something higher overrides hurts nobody. No secrets belong here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileToml {
    /// Profile where neither `--profile` nor `LIAISON_PROFILE` names one.
    pub(crate) profile: Option<String>,
    /// The daemon's socket.
    pub(crate) socket: Option<String>,
    /// `auto`, `always` or `never`.
    pub(crate) color: Option<String>,
    /// Mark of messages that name none.
    pub(crate) tlp: Option<String>,
    /// Precedence of messages that name none.
    pub(crate) precedence: Option<String>,
    /// Lifetime of messages that name none.
    pub(crate) expires: Option<String>,
    /// Root keys for `verify`.
    pub(crate) roots: Option<String>,
}

const KEYS: [&str; 7] = ["profile", "socket", "color", "tlp", "precedence", "expires", "roots"];

impl FileToml {
    /// All keys absent if there is no such file.
    ///
    /// # Errors
    /// Names file, line and key.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Failure::new(Exit::Config, "bad_config", format!("{}: {error}", path.display()))),
        }
    }

    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, Failure> {
        toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
            let place = format!("{}:{line}", path.display());
            match unknown_key(error.message()) {
                Some(key) => {
                    let near = suggest::near(key, KEYS);
                    let hint = suggest::question(&near).unwrap_or_else(|| format!("keys: {}", KEYS.join(", ")));
                    Failure::new(Exit::Config, "bad_config", format!("{place}: unknown key '{key}'")).hint(hint)
                }
                None => Failure::new(Exit::Config, "bad_config", format!("{place}: {}", error.message())),
            }
        })
    }
}

/// The key in serde's words: "unknown field `quotta`, expected …". A test holds them still.
fn unknown_key(message: &str) -> Option<&str> {
    message.strip_prefix("unknown field `")?.split('`').next()
}

/// Names of the profiles that have a file, sorted.
pub(super) fn profile_names(places: &Places) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(places.config.join("profiles")) else { return Vec::new() };
    let name = |entry: std::fs::DirEntry| Some(entry.file_name().to_str()?.strip_suffix(".toml")?.to_owned());
    let mut names: Vec<_> = entries.flatten().filter_map(name).filter(|name| super::is_profile_name(name)).collect();
    names.sort();
    names
}
