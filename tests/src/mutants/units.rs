//! Unit tests of the crates that have bugs planted, run one at a time by name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use liaison_protocol::mutant::{Mutant, VARIABLE};

/// The crates' test programs.
pub struct UnitTests {
    programs: Vec<PathBuf>,
    /// Which programs have a test, by the part of its name that was asked for; all passed without any bug.
    sound: Mutex<BTreeMap<&'static str, Vec<PathBuf>>>,
}

/// Unit tests cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum UnitsError {
    /// Cargo did not build them.
    #[error("the unit tests do not build: {0}")]
    Build(String),
    /// A name that no test has, or whose test fails without any bug.
    #[error("{test}: {why}")]
    Test {
        /// The name.
        test: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A program cannot be started.
    #[error(transparent)]
    Start(#[from] std::io::Error),
}

/// Crates that have bugs planted, with their unit tests.
const CRATES: [&str; 5] = ["liaison-protocol", "liaison-core", "liaison-driver", "liaison-node", "liaison-client"];

impl UnitTests {
    /// Builds them, with bugs that can be planted.
    ///
    /// # Errors
    /// [`UnitsError::Build`].
    pub fn build() -> Result<Self, UnitsError> {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["test", "--lib", "--no-run", "--message-format=json", "-q", "--features", "liaison-tests/mutants"]);
        cargo.args(CRATES.iter().chain(&["liaison-tests"]).flat_map(|name| ["-p", name]));
        let output = cargo.stderr(Stdio::piped()).output()?;
        if !output.status.success() {
            return Err(UnitsError::Build(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        let messages = String::from_utf8_lossy(&output.stdout).into_owned();
        let programs = messages.lines().filter_map(program).collect();
        Ok(Self { programs, sound: Mutex::default() })
    }

    /// Whether the tests with `test` in their names fail with this bug planted. Without it they must pass.
    ///
    /// # Errors
    /// [`UnitsError::Test`].
    pub fn fails(&self, test: &'static str, mutant: Mutant) -> Result<bool, UnitsError> {
        let programs = self.programs_with(test)?;
        for program in &programs {
            let planted = Command::new(program).arg(test).env(VARIABLE, format!("{mutant:?}")).output()?;
            if !planted.status.success() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn sound(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Vec<PathBuf>>> {
        self.sound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn programs_with(&self, test: &'static str) -> Result<Vec<PathBuf>, UnitsError> {
        if let Some(programs) = self.sound().get(test) {
            return Ok(programs.clone());
        }
        let mut programs = Vec::new();
        for program in &self.programs {
            let sound = Command::new(program).arg(test).output()?;
            if !sound.status.success() {
                return Err(UnitsError::Test { test, why: "it fails without any bug" });
            }
            if !String::from_utf8_lossy(&sound.stdout).contains("running 0 tests") {
                programs.push(program.clone());
            }
        }
        if programs.is_empty() {
            return Err(UnitsError::Test { test, why: "no test has this name" });
        }
        self.sound().insert(test, programs.clone());
        Ok(programs)
    }
}

/// The test program that a line of cargo's output names.
fn program(line: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let package = message.get("package_id")?.as_str()?;
    let ours = CRATES.iter().any(|name| package.contains(&format!("#{name}@")));
    let path = message.get("executable")?.as_str().map(PathBuf::from)?;
    let tested = message.get("profile")?.get("test")?.as_bool()?;
    (tested && ours).then_some(path)
}
