use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use liaison_protocol::NodeId;

use super::*;

fn problems<T: fmt::Debug>(text: &str, read: impl FnOnce(&mut Reader<'_>) -> Option<T>) -> String {
    parse(Path::new("relay.toml"), text, read).unwrap_err().to_string()
}

#[test]
fn every_problem_of_a_file_is_named_with_line_and_key() {
    let text = "\
id = 'EU-1'
rooster = 'x'

[limits]
per_agency_bytes = 20
flash_reserve = '5'
rate = '1/s'
agency_labels = 'yes'
format = 'jsn'

[[peer]]
addr = ['a:1', 2]
";
    let read = |root: &mut Reader<'_>| {
        root.required::<NodeId>("id");
        root.required_path("roster");
        root.table("limits", |t| {
            t.text::<Size>("per_agency_bytes");
            t.text::<Share>("flash_reserve");
            t.text_within("rate", Rate(10)..=Rate(100));
            t.flag("agency_labels");
            t.word("format", &[("text", 0), ("json", 1)]);
            Some(())
        });
        root.tables("peer", |t| {
            t.required::<NodeId>("id");
            t.texts::<String>("addr");
            Some(())
        });
        Some(())
    };
    assert_eq!(
        problems(text, read),
        "\
relay.toml:1: id: 'E' in 'EU-1' is not allowed: names use a-z, 0-9, '.' and '-'
relay.toml:2: rooster: unknown key, did you mean 'roster'?
relay.toml:5: [limits] per_agency_bytes: expected text in quotes, found a number; sizes, durations and rates are quoted and carry a unit
relay.toml:6: [limits] flash_reserve: '5' needs a unit, one of %: write for example \"5%\"
relay.toml:7: [limits] rate: 1/s is out of range, 10/s to 100/s
relay.toml:8: [limits] agency_labels: expected true or false, found text
relay.toml:9: [limits] format: unknown value 'jsn', did you mean 'json'?
relay.toml:11: [[peer]] id: missing
relay.toml:12: [[peer]] addr: expected text in quotes, found a number; sizes, durations and rates are quoted and carry a unit
relay.toml: roster: missing"
    );
}

#[test]
fn an_absent_table_has_defaults_and_misses_what_is_required() {
    let read = |root: &mut Reader<'_>| {
        root.table("tls", |t| {
            t.required_secret("key");
            Some(t.text::<Span>("age").unwrap_or(Span::secs(3)))
        })
    };
    assert_eq!(problems("", read), "relay.toml: [tls] key: missing");
    let value = parse(Path::new("a.toml"), "[tls]\nkey = 'file:x'\nage = '2m'", read).unwrap();
    assert_eq!(value.0, Duration::from_secs(120));
}

#[test]
fn broken_toml_is_named_by_line() {
    let said = problems("id = 'a'\nid = 'b'\n", |_| Some(()));
    assert_eq!(said, "relay.toml:2: duplicate key");
    let said = problems("id = \n", |_| Some(()));
    assert!(said.starts_with("relay.toml:1: "), "{said}");
}

#[test]
fn an_integer_keeps_to_its_range() {
    let read = |root: &mut Reader<'_>| root.integer("cost", 1..=1000);
    assert_eq!(parse(Path::new("a"), "cost = 0x10", read), Ok(16));
    assert_eq!(problems("cost = 0", read), "relay.toml:1: cost: 0 is out of range, 1 to 1000");
    assert_eq!(
        problems("cost = -1", read),
        "relay.toml:1: cost: expected a whole number of at least 0, found a number"
    );
}

#[test]
fn paths_and_secrets_start_from_the_folder_of_the_file() {
    let read = |root: &mut Reader<'_>| Some((root.path("roster")?, root.secret("key")?));
    let file = Path::new("/etc/liaison/relay.toml");
    let (roster, key) = parse(file, "roster = 'roster.json'\nkey = 'file:sign.key'", read).unwrap();
    assert_eq!(roster, Path::new("/etc/liaison/roster.json"));
    assert_eq!(key, SecretRef::File("/etc/liaison/sign.key".into()));
}

#[test]
fn a_secret_in_the_file_itself_is_refused() {
    let read = |root: &mut Reader<'_>| root.secret("key");
    assert_eq!(
        problems("key = 'hunter2'", read),
        "relay.toml:1: key: write \"file:PATH\" or \"credential:NAME\"; secrets themselves do not belong in this file"
    );
    assert_eq!(
        problems("key = 'credential:../x'", read),
        "relay.toml:1: key: '../x' is not a credential's name: no '/', not empty"
    );
}

#[test]
fn a_missing_file_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    let error = load(&file, |_| Some(())).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: no such file", file.display()));
    let error = load(Path::new("/"), |_| Some(())).unwrap_err();
    assert_eq!(error.to_string(), "/: not a regular file");
}

#[test]
fn a_secret_that_others_can_reach_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sign.key");
    fs::write(&path, "secret\n").unwrap();
    for (mode, fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(read_secret(&path, 100).is_ok(), fine, "{mode:o}");
    }
    let said = read_secret(&path, 100).unwrap_err().to_string();
    let name = path.display();
    assert_eq!(said, format!("{name}: mode 0620 gives others access; run: chmod 600 {name}"));
}

#[test]
fn links_folders_and_long_files_are_no_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("key"), folder.path().join("link"));
    fs::write(&path, [7; 100]).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    symlink(&path, &link).unwrap();
    assert!(matches!(read_secret(&link, 100), Err(SecretError::SymbolicLink { .. })));
    assert!(matches!(read_secret(folder.path(), 100), Err(SecretError::NotAFile { .. })));
    assert!(matches!(read_secret(&path, 99), Err(SecretError::TooLong { bytes_max: 99, .. })));
    assert_eq!(*read_secret(&path, 100).unwrap(), [7; 100]);
}

#[test]
fn a_passphrase_loses_its_line_end_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("passphrase");
    fs::write(&path, " correct horse \r\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(*SecretRef::File(path).read_line().unwrap(), b" correct horse ".to_vec());
}
