//! Runs the scripts of `tests/python`.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// An interpreter that has what the script needs.
pub(crate) struct Python(OsString);

impl Python {
    /// `None`, after saying so, if there is none.
    pub(crate) fn find() -> Option<Self> {
        Self::find_with("import cryptography.hazmat.primitives.hpke", "cryptography, 50 or newer")
    }

    /// As [`Python::find`], for a script with other `imports`; `packages` names them.
    pub(crate) fn find_with(imports: &str, packages: &str) -> Option<Self> {
        let interpreter = env::var_os("LIAISON_PYTHON").unwrap_or_else(|| "python3".into());
        let probe = Command::new(&interpreter).args(["-c", imports]).output();
        if probe.is_ok_and(|output| output.status.success()) {
            return Some(Self(interpreter));
        }
        assert!(env::var_os("LIAISON_REQUIRE_PYTHON").is_none(), "no Python with {packages}");
        // Not `eprintln!`: the harness shows that only when a test fails.
        let line = format!("skipped: no Python with {packages} (see tests/python/requirements.txt)\n");
        io::stderr().write_all(line.as_bytes()).unwrap();
        None
    }

    /// What it makes of envelopes and chunks, in order.
    pub(crate) fn run(&self, cases: &[Value]) -> Vec<Value> {
        self.results("open_envelope.py", cases)
    }

    /// What it says of rosters and receipts, in order.
    pub(crate) fn verify(&self, cases: &[Value]) -> Vec<Value> {
        self.results("verify_receipts.py", cases)
    }

    fn results(&self, script: &str, cases: &[Value]) -> Vec<Value> {
        let file = tempfile::NamedTempFile::new().unwrap();
        serde_json::to_writer(&file, cases).unwrap();
        let lines = self.script(script, file.path());
        let results: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(results.len(), cases.len());
        results
    }

    /// Whether every file of `protocol/vectors` holds; one line for each.
    pub(crate) fn check_vectors(&self) -> String {
        self.script("check_vectors.py", &Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/vectors"))
    }

    /// What a script of `tests/python` prints. Panics with its words if it fails.
    pub(crate) fn script(&self, name: &str, argument: &Path) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name);
        let mut command = Command::new(&self.0);
        let output = command.env("PYTHONDONTWRITEBYTECODE", "1").arg(script).arg(argument).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}
