//! Configuration: flag, then environment, then profile, then `config.toml`, then default. Each value knows which won.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use liaison_client::api::model::{Precedence, Tlp};

use crate::cli::{ColorWhen, Global};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::text::parse_span;

mod file;

pub(crate) use file::FileToml;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(&'static str),
    Env(&'static str),
    File(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sourced<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

/// What all commands go by.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) profile: Sourced<String>,
    pub(crate) socket: Sourced<PathBuf>,
    pub(crate) color: Sourced<ColorWhen>,
    /// Mark of a message that names none; without one here, the daemon's policy decides, or refuses.
    pub(crate) tlp: Sourced<Option<Tlp>>,
    pub(crate) precedence: Sourced<Precedence>,
    pub(crate) expires: Sourced<Duration>,
    /// Public root keys and threshold, for `verify`.
    pub(crate) roots: Sourced<Option<PathBuf>>,
    pub(crate) places: Places,
}

/// Directories, by the XDG base directory rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// `$XDG_CONFIG_HOME/liaison`: `config.toml` and `profiles/`.
    pub(crate) config: PathBuf,
    /// `$XDG_STATE_HOME/liaison`: listings, unfinished uploads, drafts.
    pub(crate) state: PathBuf,
    /// The socket where no other is named.
    pub(crate) socket: PathBuf,
}

/// Reads one environment variable; empty counts as absent.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Places {
    pub(crate) fn from_env(env: Env<'_>) -> Self {
        let home = env("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        // The base directory rules: a relative path is to be ignored.
        let absolute = |name| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let under = |name, tail: &str| absolute(name).unwrap_or_else(|| home.join(tail)).join("liaison");
        let own = absolute("XDG_RUNTIME_DIR").map(|run| run.join("liaison/liaisond.sock"));
        let socket = own.filter(|socket| socket.exists()).unwrap_or_else(|| "/run/liaison/liaisond.sock".into());
        Self { config: under("XDG_CONFIG_HOME", ".config"), state: under("XDG_STATE_HOME", ".local/state"), socket }
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.config.join("config.toml")
    }

    pub(crate) fn profile_file(&self, name: &str) -> PathBuf {
        self.config.join("profiles").join(format!("{name}.toml"))
    }
}

impl Settings {
    /// # Errors
    /// A file that is there and wrong, a profile that is named and not there.
    pub(crate) fn load(global: &Global, env: Env<'_>) -> Result<Self, Failure> {
        let places = Places::from_env(env);
        let config = FileToml::read(&places.config_file())?;
        let profile = Ladder { flag: ("--profile", global.profile.clone()), env: "LIAISON_PROFILE" }
            .climb(env, &[(places.config_file(), config.profile.clone())])?
            .unwrap_or(Sourced { value: "default".into(), origin: Origin::Default });
        let own = read_profile(&places, &profile)?;
        let files = |pick: fn(&FileToml) -> Option<String>| {
            [(places.profile_file(&profile.value), pick(&own)), (places.config_file(), pick(&config))]
        };
        let path = |text: &Path| Some(text.to_string_lossy().into_owned());
        Ok(Self {
            socket: Ladder { flag: ("--socket", global.socket.as_deref().and_then(path)), env: "LIAISON_SOCKET" }
                .climb(env, &files(|file| file.socket.clone()))?
                .unwrap_or_else(|| Sourced { value: places.socket.clone(), origin: Origin::Default }),
            color: Ladder { flag: ("--color", global.color.map(|when| when.to_string())), env: "LIAISON_COLOR" }
                .climb(env, &files(|file| file.color.clone()))?
                .unwrap_or(Sourced { value: ColorWhen::Auto, origin: Origin::Default }),
            tlp: optional(Ladder::env("LIAISON_TLP").climb(env, &files(|file| file.tlp.clone()))?),
            precedence: Ladder::env("LIAISON_PRECEDENCE")
                .climb(env, &files(|file| file.precedence.clone()))?
                .unwrap_or(Sourced { value: Precedence::Routine, origin: Origin::Default }),
            expires: Ladder::env("LIAISON_EXPIRES").climb(env, &files(|file| file.expires.clone()))?.map_or(
                Sourced { value: DEFAULT_EXPIRES, origin: Origin::Default },
                |span: Sourced<Span>| Sourced { value: span.value.0, origin: span.origin },
            ),
            roots: optional(Ladder::env("LIAISON_ROOTS").climb(env, &files(|file| file.roots.clone()))?),
            profile,
            places,
        })
    }
}

/// 7 days, as the protocol's.
const DEFAULT_EXPIRES: Duration = liaison_protocol::limits::LIFETIME_DEFAULT;

fn optional<T>(found: Option<Sourced<T>>) -> Sourced<Option<T>> {
    match found {
        Some(Sourced { value, origin }) => Sourced { value: Some(value), origin },
        None => Sourced { value: None, origin: Origin::Default },
    }
}

/// The file of the profile. Only the one that nobody named may be missing.
fn read_profile(places: &Places, profile: &Sourced<String>) -> Result<FileToml, Failure> {
    if !is_profile_name(&profile.value) {
        return Err(Failure::new(Exit::Config, "bad_profile", format!("'{}' is no profile name", profile.value))
            .hint("use letters, digits, '-' and '_'"));
    }
    let path = places.profile_file(&profile.value);
    if profile.origin != Origin::Default && !path.exists() {
        let message = format!("no profile '{}' ({} is not there)", profile.value, path.display());
        let names = file::profile_names(places);
        let near = crate::suggest::near(&profile.value, names.iter().map(String::as_str));
        let hint = crate::suggest::question(&near).unwrap_or_else(|| "see liaison profile list".into());
        return Err(Failure::new(Exit::Config, "unknown_profile", message).hint(hint));
    }
    FileToml::read(&path)
}

/// A profile's name is a file's name: no separators, no dots.
pub(crate) fn is_profile_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

pub(crate) fn profile_names(places: &Places) -> Vec<String> {
    file::profile_names(places)
}

/// A span in a file.
struct Span(Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_span(text).map(Self)
    }
}

/// One setting's sources, highest first.
struct Ladder {
    flag: (&'static str, Option<String>),
    env: &'static str,
}

impl Ladder {
    const fn env(name: &'static str) -> Self {
        Self { flag: ("", None), env: name }
    }

    fn climb<T>(self, env: Env<'_>, files: &[(PathBuf, Option<String>)]) -> Result<Option<Sourced<T>>, Failure>
    where
        T: FromStr<Err: fmt::Display>,
    {
        let flag = self.flag.1.map(|text| (text, Origin::Flag(self.flag.0)));
        let env = || env(self.env).map(|text| (text, Origin::Env(self.env)));
        let file = || files.iter().find_map(|(path, text)| Some((text.clone()?, Origin::File(path.clone()))));
        let Some((text, origin)) = flag.or_else(env).or_else(file) else { return Ok(None) };
        match text.parse() {
            Ok(value) => Ok(Some(Sourced { value, origin })),
            Err(error) => Err(Failure::new(Exit::Config, "bad_config", format!("{origin}: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests;
