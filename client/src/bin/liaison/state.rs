//! What this command line remembers between calls: the last message sent, each terminal's last listing, unfinished uploads.
//!
//! Losing it costs convenience only, so nothing fails because of it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use liaison_client::api::model::Id;
use serde::{Deserialize, Serialize};

/// One profile's memory: a JSON file, replaced as a whole.
#[derive(Debug)]
pub(crate) struct State {
    path: PathBuf,
    memory: Memory,
    /// The terminal session whose listings `@1`, `@2` … name.
    session: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Memory {
    /// What `@last` names.
    last: Option<Id>,
    /// What `@1`, `@2` … name, by terminal session, the one used last at the end.
    listings: Vec<(String, Vec<Id>)>,
    /// Uploads that were not finished, or finished and not sent, by their file's key.
    uploads: BTreeMap<String, String>,
    /// What was sent under an idempotency key: each attachment's file key and upload, so that the same send names
    /// the same uploads.
    sent: BTreeMap<String, Vec<(String, String)>>,
}

/// Uploads, and keys, that are remembered at most; the daemon forgets them after a day anyway.
const UPLOADS_MAX: usize = 256;

/// Terminal sessions whose listings are remembered; the one unused for longest is forgotten first.
const LISTINGS_MAX: usize = 32;

impl State {
    /// An unreadable memory is an empty one.
    pub(crate) fn open(dir: &Path, profile: &str, session: String) -> Self {
        let path = dir.join(format!("{profile}.json"));
        let memory = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { path, memory: memory.unwrap_or_default(), session }
    }

    pub(crate) const fn last(&self) -> Option<Id> {
        self.memory.last
    }

    pub(crate) fn listed(&self, number: usize) -> Option<Id> {
        let (_, listing) = self.memory.listings.iter().find(|(session, _)| *session == self.session)?;
        listing.get(number.checked_sub(1)?).copied()
    }

    pub(crate) fn set_last(&mut self, id: Id) {
        self.memory.last = Some(id);
        self.save();
    }

    pub(crate) fn set_listing(&mut self, ids: Vec<Id>) {
        self.memory.listings.retain(|(session, _)| *session != self.session);
        self.memory.listings.push((self.session.clone(), ids));
        let surplus = self.memory.listings.len().saturating_sub(LISTINGS_MAX);
        self.memory.listings.drain(..surplus);
        self.save();
    }

    pub(crate) fn upload(&self, key: &str) -> Option<&str> {
        self.memory.uploads.get(key).map(String::as_str)
    }

    pub(crate) fn remember_upload(&mut self, key: String, id: String) {
        if self.memory.uploads.len() >= UPLOADS_MAX {
            self.memory.uploads.clear();
        }
        self.memory.uploads.insert(key, id);
        self.save();
    }

    pub(crate) fn forget_upload(&mut self, key: &str) {
        if self.memory.uploads.remove(key).is_some() {
            self.save();
        }
    }

    /// The uploads that were sent under `id_key`, if they were of the same files.
    pub(crate) fn sent_uploads(&self, id_key: &str, files: &[String]) -> Option<Vec<String>> {
        let sent = self.memory.sent.get(id_key)?;
        let same = sent.len() == files.len() && sent.iter().zip(files).all(|((file, _), wanted)| file == wanted);
        same.then(|| sent.iter().map(|(_, upload)| upload.clone()).collect())
    }

    pub(crate) fn remember_sent(&mut self, id_key: String, uploads: Vec<(String, String)>) {
        if self.memory.sent.len() >= UPLOADS_MAX {
            self.memory.sent.clear();
        }
        self.memory.sent.insert(id_key, uploads);
        self.save();
    }

    fn save(&self) {
        // Convenience only: a read-only home must not stop anybody from sending.
        let _ = self.try_save();
    }

    fn try_save(&self) -> io::Result<()> {
        let dir = self.path.parent().unwrap_or_else(|| Path::new("."));
        create_private_dir(dir)?;
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(&serde_json::to_vec(&self.memory)?)?;
        file.persist(&self.path)?;
        Ok(())
    }
}

/// The name of this process's terminal session: the session's id, and when its leader started, because ids are used
/// again. A script that a shell runs belongs to the shell's session. Source: `/proc`, proc(5).
pub(crate) fn terminal_session() -> String {
    let line_of = |process: &str| std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    session_name(&line_of("self"), line_of)
}

/// The session's name from `own`, this process's line in `/proc`. `line_of` reads the line of another process.
fn session_name(own: &str, line_of: impl Fn(&str) -> String) -> String {
    let id = stat_field(own, 6);
    let terminal = stat_field(own, 7);
    match id {
        // In a container the session's leader may run outside: its id is 0 then, and only the terminal tells shells apart.
        "0" => format!("terminal-{terminal}"),
        _ => format!("{id}-{}", stat_field(&line_of(id), 22)),
    }
}

/// Field `number` of a line of `/proc/*/stat`, counted from 1; "0" if there is none.
fn stat_field(line: &str, number: usize) -> &str {
    // The second field may hold blanks, and ends with the last parenthesis.
    let behind_name = line.rsplit_once(')').map_or("", |(_, rest)| rest);
    behind_name.split_whitespace().nth(number.saturating_sub(3)).unwrap_or("0")
}

/// Makes `dir` and what is missing above it, for this user alone.
pub(crate) fn create_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use liaison_protocol::{Hash, MessageId};

    fn id(byte: u8) -> Id {
        Id(MessageId(Hash([byte; 32])))
    }

    #[test]
    fn memory_survives_and_profiles_do_not_mix() {
        let dir = tempfile::tempdir().unwrap();
        let open = |profile: &str| State::open(&dir.path().join("new"), profile, "1-1".into());
        let mut state = open("live");
        state.set_last(id(1));
        state.set_listing(vec![id(2), id(3)]);
        state.remember_upload("key".into(), "up".into());

        let again = open("live");
        assert_eq!((again.last(), again.listed(2), again.listed(3)), (Some(id(1)), Some(id(3)), None));
        assert_eq!(again.listed(0), None);
        assert_eq!(again.upload("key"), Some("up"));
        assert_eq!(open("test").last(), None);
    }

    #[test]
    fn each_terminal_has_its_own_listing() {
        let dir = tempfile::tempdir().unwrap();
        let open = |session: usize| State::open(dir.path(), "live", format!("{session}-1"));
        open(1).set_listing(vec![id(1)]);
        open(2).set_listing(vec![id(2)]);
        assert_eq!((open(1).listed(1), open(2).listed(1), open(3).listed(1)), (Some(id(1)), Some(id(2)), None));
        (2..=LISTINGS_MAX + 1).for_each(|session| open(session).set_listing(vec![id(3)]));
        assert_eq!((open(1).listed(1), open(2).listed(1)), (None, Some(id(3))));
    }

    #[test]
    fn a_session_has_one_name() {
        assert_eq!(terminal_session(), terminal_session());
        let leader = |id: &str| if id == "70" { line("70", "34816", "900") } else { String::new() };
        assert_eq!(session_name(&line("70", "34816", "950"), leader), "70-900");
        assert_eq!(session_name(&line("71", "34816", "950"), leader), "71-0");
    }

    #[test]
    fn a_session_whose_leader_is_outside_the_container_is_named_by_its_terminal() {
        assert_eq!(session_name(&line("0", "34816", "950"), |_| String::new()), "terminal-34816");
        assert_eq!(session_name("", |_| String::new()), "terminal-0");
    }

    /// A line of `/proc/*/stat` of a command whose name tries to look like fields.
    fn line(session: &str, terminal: &str, started: &str) -> String {
        format!("80 (a) 1 (b) S 1 80 {session} {terminal} 80 0 0 0 0 0 0 0 0 0 20 0 1 0 {started} 0 0")
    }

    #[test]
    fn uploads_under_a_key_are_those_of_the_same_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(dir.path(), "live", "1-1".into());
        state.remember_sent("k".into(), vec![("file 1".into(), "up-1".into())]);
        assert_eq!(state.sent_uploads("k", &["file 1".into()]), Some(vec!["up-1".into()]));
        assert_eq!(state.sent_uploads("k", &["file 2".into()]), None);
        assert_eq!(state.sent_uploads("k", &[]), None);
    }

    #[test]
    fn a_broken_memory_is_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("live.json"), b"{\"last\":7").unwrap();
        assert_eq!(State::open(dir.path(), "live", "1-1".into()).last(), None);
    }
}
