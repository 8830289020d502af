//! `liaison version`.

use serde::Serialize;
use utoipa::ToSchema;

use crate::context::Context;
use crate::failure::Failure;
use crate::text::safe_line;
use liaison_node::exit::Exit;

/// Versions.
#[derive(Debug, Serialize, ToSchema)]
struct Versions {
    /// Of this program.
    liaison: &'static str,
    /// Of the daemon, if it answers.
    liaisond: Option<String>,
    /// Of `--json`: rises when a field is removed or changes its meaning.
    json: u32,
}

const JSON_VERSION: u32 = 1;

/// Works without a daemon.
pub(crate) async fn run(cx: &Context) -> Result<Exit, Failure> {
    cx.out.check_fields::<Versions>()?;
    let own = env!("CARGO_PKG_VERSION");
    let daemon = cx.client.status().await.ok().map(|status| status.version);
    if cx.out.is_json() {
        cx.out.object(&Versions { liaison: own, liaisond: daemon, json: JSON_VERSION })?;
    } else {
        let daemon = daemon.map(|version| format!("liaisond {}\n", safe_line(&version))).unwrap_or_default();
        cx.out.data(&format!("liaison {own}\n{daemon}"))?;
    }
    Ok(Exit::Done)
}
