//! What the demo says: fixed text for people, one object a step for programs.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::out::Out;

#[derive(Debug)]
pub(super) struct Say {
    out: Out,
}

impl Say {
    pub(super) fn new(out: &Out) -> Self {
        Self { out: out.clone() }
    }

    /// A line for people alone.
    pub(super) fn text(&self, line: &str) -> Result<(), Failure> {
        if self.out.is_json() { Ok(()) } else { self.out.data(&format!("{line}\n")) }
    }

    /// Something was as promised: `line` for people, `facts` for programs.
    pub(super) fn step(&self, section: u8, step: &str, facts: Value, line: &str) -> Result<(), Failure> {
        if self.out.is_json() {
            let object = json!({ "section": section, "step": step, "ok": true, "facts": facts });
            self.out.data(&(liaison_node::text::json(&object).unwrap_or_default() + "\n"))
        } else {
            self.out.data(&format!("{line}\n"))
        }
    }
}
