//! What people and programs write: configuration, requests, names.

use std::fmt::Display;
use std::io::Write as _;
use std::path::Path;
use std::str::FromStr;

use liaison_client::api::model::{self, EventQuery, ListQuery, NewUpload, RetryRequest, Submission};
use liaison_node::config::{Rate, SecretRef, Share, Size, Span};
use liaison_node::store::IdPrefix;
use liaison_protocol::roster::Party;
use liaison_protocol::{AgencyId, MessageId, NodeId, Precedence, Region};
use liaison_relay::config::RelayConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;

#[path = "../../../client/src/bin/liaisond/config.rs"]
#[expect(dead_code, reason = "the daemon's own file: only its reader is of interest here")]
mod daemon_config;

/// The document's mistakes are all named, each with its line; it is read the same way twice.
pub(super) fn relay_config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let file = Path::new("/etc/liaison/relay.toml");
    match (RelayConfig::parse(file, text), RelayConfig::parse(file, text)) {
        (Ok(first), Ok(second)) => assert_eq!(first, second),
        (Err(first), Err(second)) => assert_eq!(first.to_string(), second.to_string()),
        _ => panic!("the same text is read and refused"),
    }
}

pub(super) fn daemon_config(bytes: &[u8]) {
    let Ok(mut file) = tempfile::NamedTempFile::new() else { return };
    file.write_all(bytes).expect("room for a temporary file");
    let _ = daemon_config::DaemonConfig::load(file.path()).map_err(|error| error.to_string());
}

/// Bodies of requests. Whatever is accepted is written and read again without a change.
pub(super) fn requests(bytes: &[u8]) {
    json::<Submission>(bytes);
    json::<NewUpload>(bytes);
    json::<RetryRequest>(bytes);
    json::<ListQuery>(bytes);
    json::<EventQuery>(bytes);
    json::<model::Event>(bytes);
}

fn json<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(bytes) else { return };
    let written = serde_json::to_vec(&value).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<T>(&written).ok(), Some(value));
}

/// Everything that has a text of its own: what is accepted is shown so that it is accepted again, as the same.
pub(super) fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    name::<AgencyId>(text);
    name::<NodeId>(text);
    name::<Region>(text);
    name::<MessageId>(text);
    name::<Precedence>(text);
    name::<Party>(text);
    name::<model::Id>(text);
    name::<model::Time>(text);
    name::<model::Tlp>(text);
    let _ = (text.parse::<IdPrefix>(), text.parse::<SecretRef>(), text.parse::<Size>(), text.parse::<Span>());
    let _ = (text.parse::<Rate>(), text.parse::<Share>());
}

fn name<T: FromStr + Display + PartialEq>(text: &str) {
    let Ok(value) = text.parse::<T>() else { return };
    assert!(value.to_string().parse::<T>().ok() == Some(value), "'{}' is not read back", text.escape_debug());
}
