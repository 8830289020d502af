//! Progress of long work, on stderr.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::out::Out;
use crate::text::safe_line;
use liaison_node::text::json;

/// `--progress`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// A bar if stderr is a terminal
    #[default]
    Auto,
    /// One JSON object a line, twice a second at most
    Json,
    /// None
    Never,
}

/// One transfer's progress.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// For JSON: what is moved, how long it is, when it was last said.
    json: Option<(String, u64, Instant)>,
    out: Out,
}

const JSON_EVERY: Duration = Duration::from_millis(500);

impl Progress {
    /// `name` is what moves, `from` where it was resumed.
    pub(crate) fn start(out: &Out, mode: ProgressMode, name: &str, total: u64, from: u64) -> Self {
        let shown = mode == ProgressMode::Auto && !out.quiet && std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(
            Some(total),
            if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() },
        );
        let template = "  {msg} {wide_bar} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(safe_line(name));
        bar.set_position(from);
        bar.reset_eta();
        if from > 0 && total > 0 {
            let percent = u128::from(from) * 100 / u128::from(total);
            out.note(&format!("{name}: resumed at {percent} %"));
        }
        let json = (mode == ProgressMode::Json).then(|| (name.to_owned(), total, Instant::now()));
        Self { bar, json, out: out.clone() }
    }

    pub(crate) fn at(&mut self, position: u64) {
        self.bar.set_position(position);
        if let Some((name, total, last)) = &mut self.json
            && (last.elapsed() >= JSON_EVERY || position == *total)
        {
            *last = Instant::now();
            let line = serde_json::json!({ "progress": { "name": name, "bytes": position, "total": total } });
            self.out.talk(&json(&line).unwrap_or_default());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
