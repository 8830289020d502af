//! The other binaries: beside this one, built first when it runs from its source tree.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use liaison_node::exit::Exit;
use tokio::process::Command;

use crate::failure::Failure;
use crate::out::Out;

/// Where the real programs are.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) liaison: PathBuf,
    pub(super) daemon: PathBuf,
    pub(super) relay: PathBuf,
    pub(super) certs_dev: PathBuf,
}

const OTHERS: [&str; 3] = ["liaisond", "liaison-relay", "certs-dev"];

/// Builds what a source tree can build, then looks beside this program.
pub(super) async fn find_or_build(out: &Out) -> Result<Programs, Failure> {
    let unknown = |error| Failure::new(Exit::Internal, "internal", format!("cannot find this program's file: {error}"));
    let liaison = std::env::current_exe().map_err(unknown)?;
    let folder = liaison.parent().unwrap_or_else(|| Path::new(".")).to_owned();
    if let Some(tree) = source_tree(&folder) {
        build(&tree, profile_of(&folder), out).await?;
    }
    let beside = |name: &str| {
        let path = folder.join(name);
        if path.is_file() { Ok(path) } else { Err(missing(&path)) }
    };
    Ok(Programs {
        daemon: beside("liaisond")?,
        relay: beside("liaison-relay")?,
        certs_dev: beside("certs-dev")?,
        liaison,
    })
}

fn missing(path: &Path) -> Failure {
    Failure::new(Exit::NoInput, "program_missing", format!("demo: {} is not there", path.display())).hint(
        "put liaison, liaisond, liaison-relay and certs-dev into one folder, or run from the source tree: \
               cargo run --release --bin liaison -- demo",
    )
}

/// The workspace that this program was built from: cargo names the package that it runs, and a target folder usually
/// lies inside the tree.
fn source_tree(folder: &Path) -> Option<PathBuf> {
    let run_by_cargo = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let above = |path: &Path| path.ancestors().find(|dir| is_workspace(dir)).map(Path::to_owned);
    run_by_cargo.as_deref().and_then(above).or_else(|| above(folder))
}

fn is_workspace(dir: &Path) -> bool {
    ["Cargo.toml", "client/Cargo.toml", "relay/Cargo.toml", "certs-dev/Cargo.toml"]
        .iter()
        .all(|file| dir.join(file).is_file())
}

/// Cargo's name of the profile whose folder this is.
fn profile_of(folder: &Path) -> &str {
    match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    }
}

/// Quick when everything is built. Cargo's words go to stderr.
async fn build(tree: &Path, profile: &str, out: &Out) -> Result<(), Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command.current_dir(tree).args(["build", "--profile", profile]).stdin(Stdio::null()).stdout(Stdio::null());
    for name in OTHERS {
        command.args(["--bin", name]);
    }
    if out.quiet || out.is_json() {
        command.arg("--quiet");
    }
    // Dropped on Ctrl-C: cargo then stops too.
    command.kill_on_drop(true);
    let failed = |reason: String| {
        Failure::new(Exit::Internal, "build_failed", format!("demo: building the other programs failed: {reason}"))
    };
    match command.status().await {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(status.to_string())),
        Err(error) => Err(failed(format!("{}: {error}", cargo.to_string_lossy()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_folder_names_its_profile() {
        assert_eq!(profile_of(Path::new("/x/target/release")), "release");
        assert_eq!(profile_of(Path::new("/x/target/debug")), "dev");
    }

    #[test]
    fn the_tree_of_this_test_is_found() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(is_workspace(here.parent().unwrap()));
        assert!(!is_workspace(here));
    }
}
