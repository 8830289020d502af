//! `liaison profile`.

use std::io::Write;
use std::path::Path;

use serde::Serialize;
use utoipa::ToSchema;

use crate::cli::Global;
use crate::context::Context;
use crate::failure::Failure;
use crate::settings::{FileToml, profile_names};
use crate::state::create_private_dir;
use crate::suggest;
use liaison_node::exit::Exit;

#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// List the profiles; the one in use is marked
    List,
    /// Use this profile from now on; 'default' goes back to none
    Use {
        /// Its name
        name: String,
    },
    /// Print a profile's file
    Show {
        /// Its name; if left out, the profile in use
        name: Option<String>,
    },
}

/// A profile.
#[derive(Debug, Serialize, ToSchema)]
struct Profile {
    /// Its name.
    name: String,
    /// Commands without `--profile` use it.
    current: bool,
    /// Its file.
    path: String,
}

pub(crate) fn run(command: &Command, global: &Global) -> Result<Exit, Failure> {
    match command {
        Command::List => list(&Context::load(global)?),
        Command::Use { name } if name == "default" => {
            choose(&Context::load(&Global { profile: None, ..global.clone() })?, name)
        }
        Command::Use { name } => {
            choose(&Context::load(&Global { profile: Some(name.clone()), ..global.clone() })?, name)
        }
        Command::Show { name } => {
            let profile = name.clone().or_else(|| global.profile.clone());
            show(&Context::load(&Global { profile, ..global.clone() })?)
        }
    }
}

fn list(cx: &Context) -> Result<Exit, Failure> {
    cx.out.check_fields::<Profile>()?;
    let places = &cx.settings.places;
    for name in profile_names(places) {
        let current = name == cx.settings.profile.value;
        let path = places.profile_file(&name).display().to_string();
        if cx.out.is_json() {
            cx.out.object(&Profile { name, current, path })?;
        } else {
            cx.out.data(&format!("{} {name:<16}{path}\n", if current { "*" } else { " " }))?;
        }
    }
    Ok(Exit::Done)
}

/// `cx` was loaded with the profile, so it exists and is sound.
fn choose(cx: &Context, name: &str) -> Result<Exit, Failure> {
    let path = cx.settings.places.config_file();
    let failed = |error: std::io::Error| Failure::output(&path, &error);
    let old = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        old => old.map_err(failed)?,
    };
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    create_private_dir(dir).map_err(failed)?;
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    file.write_all(with_profile(&old, name).as_bytes()).map_err(failed)?;
    file.persist(&path).map_err(|error| failed(error.error))?;
    cx.out.note(&format!("commands now use profile {name}"));
    Ok(Exit::Done)
}

/// The file with its `profile` key set; everything else stays as its author wrote it. The file has no tables.
fn with_profile(old: &str, name: &str) -> String {
    let line = format!("profile = \"{name}\"");
    let is_key =
        |text: &str| text.trim_start().strip_prefix("profile").is_some_and(|rest| rest.trim_start().starts_with('='));
    if name == "default" {
        return old.lines().filter(|text| !is_key(text)).fold(String::new(), |out, text| out + text + "\n");
    }
    if !old.lines().any(is_key) {
        return format!("{line}\n{old}");
    }
    old.lines()
        .map(|text| if is_key(text) { line.as_str() } else { text })
        .fold(String::new(), |out, text| out + text + "\n")
}

fn show(cx: &Context) -> Result<Exit, Failure> {
    let places = &cx.settings.places;
    let name = &cx.settings.profile.value;
    let path = places.profile_file(name);
    FileToml::read(&path)?;
    match std::fs::read_to_string(&path) {
        Ok(text) => cx.out.data(&crate::text::safe_text(&text))?,
        Err(error) => {
            let names = profile_names(places);
            let near = suggest::near(name, names.iter().map(String::as_str));
            return Err(Failure::input(&path, &error).maybe_hint(suggest::question(&near)));
        }
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choosing_a_profile_keeps_the_rest_of_the_file() {
        assert_eq!(with_profile("", "live"), "profile = \"live\"\n");
        let old = "# mine\ncolor = \"never\"\nprofile=\"test\" # x\n";
        assert_eq!(with_profile(old, "live"), "# mine\ncolor = \"never\"\nprofile = \"live\"\n");
        assert_eq!(with_profile(old, "default"), "# mine\ncolor = \"never\"\n");
        assert_eq!(with_profile("tlp = \"red\"\n", "live"), "profile = \"live\"\ntlp = \"red\"\n");
    }
}
