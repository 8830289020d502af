//! Bad input is found before the start: what, where, and what to do.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;

use liaison_protocol::NodeId;
use serde_json::Value;

use crate::site::Site;

/// The one finding with this id.
fn finding(site: &Site, id: &str) -> (String, String, String) {
    let ended = site.relay(&["--json", "check"]);
    let lines = ended.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found: Vec<_> = lines.filter(|line| line["id"] == id).collect();
    assert_eq!(found.len(), 1, "{ended:?}");
    let text = |key: &str| found[0][key].as_str().unwrap_or_default().to_owned();
    assert_eq!(ended.code, i32::from(text("level") == "fail"), "{ended:?}");
    (text("level"), text("text"), text("fix"))
}

#[test]
fn a_fresh_federation_passes_every_check() {
    let site = Site::new(1);
    let ended = site.relay(&["check", "--strict"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.stderr, "");
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert_eq!(lines.first(), Some(&"LEVEL  CHECK         RESULT"));
    assert_eq!(lines.last(), Some(&"9 ok, 0 warnings, 0 failures"));
    assert!(
        ended.stdout.contains("ok     roster        version 1, signed 2 of 3 (2 needed), 59 d left\n"),
        "{ended:?}"
    );
}

#[test]
fn an_unknown_key_is_named_with_file_line_and_the_nearest_known_one() {
    let site = Site::new(1);
    site.append("\n[limits]\nper_agency_byte = \"20GiB\"\nflash_reserve = 5\n");
    let line = fs::read_to_string(site.config()).unwrap().lines().count();
    let file = site.config().display().to_string();
    let expected = format!(
        "{file}:{}: [limits] per_agency_byte: unknown key, did you mean 'per_agency_bytes'?\n\
         {file}:{line}: [limits] flash_reserve: expected text in quotes, found a number; sizes, durations and rates are \
         quoted and carry a unit\n",
        line - 1
    );
    for command in ["check", "run"] {
        let ended = site.relay(&[command]);
        assert_eq!((ended.code, ended.stderr.as_str(), ended.stdout.as_str()), (78, expected.as_str(), ""));
    }
    let ended = site.relay(&["--json", "check"]);
    let error: Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_eq!((&error["error"]["code"], &error["error"]["exit"]), (&"config_invalid".into(), &78.into()));
}

#[test]
fn a_missing_configuration_is_said_in_one_line() {
    let mut command = crate::site::program();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    let output = command.arg("--config").arg(&file).arg("check").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), format!("{}: no such file\n", file.display()));
}

#[test]
fn keys_that_others_can_read_are_refused() {
    let site = Site::new(1);
    for (file, id) in [("link.key.pem", "link-key"), ("sign.key", "signing-key"), ("passphrase", "passphrase")] {
        let path = site.path(file);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let name = path.display();
        let (level, text, _) = finding(&site, id);
        assert_eq!(
            (level.as_str(), text),
            ("fail", format!("{name}: mode 0644 gives others access; run: chmod 600 {name}"))
        );
        let run = site.relay(&["run"]);
        assert_eq!(run.code, 78, "{run:?}");
        assert_eq!(
            run.stderr,
            format!("liaison-relay: {id}: {name}: mode 0644 gives others access; run: chmod 600 {name}\n")
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn a_port_in_use_is_named_with_the_key_to_change() {
    let site = Site::new(1);
    let _held = UdpSocket::bind(site.quic()).unwrap();
    let (address, port) = (site.quic(), site.quic().port());
    let (level, text, fix) = finding(&site, "quic");
    assert_eq!((level.as_str(), text), ("fail", format!("UDP {address} is in use by another process")));
    assert_eq!(fix, format!("stop that program (ss -lnp | grep {port}), or set another [listen] quic"));
    let run = site.relay(&["run"]);
    assert_eq!(run.code, 74, "{run:?}");
    let said = format!(
        "liaison-relay: [listen] quic: UDP {address} is in use by another process\n  \
         stop that program (ss -lnp | grep {port}), or set another [listen] quic\n"
    );
    assert!(run.stderr.ends_with(&said), "{run:?}");
    assert!(!site.path("relay.sock").exists());
}

#[test]
fn a_roster_with_too_few_signatures_is_refused() {
    let site = Site::new(1);
    let path = site.federation.roster_path();
    let mut roster: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let signatures = roster["signatures"].as_array_mut().unwrap();
    signatures.truncate(1);
    fs::write(&path, serde_json::to_vec(&roster).unwrap()).unwrap();
    let (level, text, _) = finding(&site, "roster");
    // The store may hold the roster that replaced the root keys; this one does not.
    assert_eq!(level, "warn");
    assert!(
        text.contains("carries 1 valid signatures of trusted root keys, 2 are needed; the relay starts if"),
        "{text}"
    );
    assert_eq!(site.relay(&["run"]).code, 78);
}

#[test]
fn a_roster_that_is_missing_is_named() {
    let site = Site::new(1);
    fs::remove_file(site.federation.roster_path()).unwrap();
    let (_, text, _) = finding(&site, "roster");
    assert!(text.ends_with("roster.json: no such file"), "{text}");
}

#[test]
fn another_relays_keys_are_told_from_ones_own() {
    let site = Site::new(2);
    let other: NodeId = "eu-1".parse().unwrap();
    let folder = site.federation.relay_folder(&other);
    for file in ["link.key.pem", "link.cert.pem"] {
        fs::copy(folder.join(file), site.path(file)).unwrap();
    }
    let (level, text, _) = finding(&site, "link-key");
    assert_eq!((level.as_str(), text.as_str()), ("fail", "is not the one that the roster names for ap-1"));
    let run = site.relay(&["run"]);
    assert_eq!(run.code, 78, "{run:?}");
}

#[test]
fn a_certificate_and_key_that_do_not_match_are_told() {
    let site = Site::new(2);
    let other: NodeId = "eu-1".parse().unwrap();
    fs::copy(site.federation.relay_folder(&other).join("link.key.pem"), site.path("link.key.pem")).unwrap();
    let (_, text, _) = finding(&site, "link-key");
    assert!(text.ends_with("the link key does not belong to the link certificate"), "{text}");
}

#[test]
fn a_wrong_passphrase_is_told() {
    let site = Site::new(1);
    fs::write(site.path("passphrase"), "wrong\n").unwrap();
    let (_, text, _) = finding(&site, "signing-key");
    assert!(text.ends_with("wrong passphrase, or the key file is damaged"), "{text}");
}

#[test]
fn a_name_that_is_not_in_the_roster_is_told_with_those_that_are() {
    let site = Site::new(2);
    site.edit("id = \"ap-1\"", "id = \"ap-9\"");
    let ended = site.relay(&["check"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.stdout.contains("'ap-9' is not a relay of roster version 1  fix: its relays are: ap-1, eu-1\n"),
        "{ended:?}"
    );
}

#[test]
fn a_region_other_than_the_rosters_is_told() {
    let site = Site::new(1);
    site.edit("region = \"asia\"", "region = \"africa\"");
    let (level, text, fix) = finding(&site, "region");
    assert_eq!((level.as_str(), text.as_str()), ("fail", "region is 'africa' here and 'asia' in the roster"));
    assert_eq!(fix, "set region = \"asia\"");
}

#[test]
fn a_disk_below_its_low_water_mark_is_told() {
    let site = Site::new(1);
    site.edit("low_water = \"256MiB\"", "low_water = \"100TiB\"");
    let (level, text, fix) = finding(&site, "store");
    assert_eq!(level, "fail");
    assert!(text.ends_with(" free, custody is refused below 100TiB"), "{text}");
    assert_eq!(fix, "make room, or lower [store] low_water");
}

#[test]
fn a_store_path_that_is_a_file_is_told() {
    let site = Site::new(1);
    fs::write(site.path("store"), "precious").unwrap();
    let (level, text, _) = finding(&site, "store");
    assert_eq!((level.as_str(), text), ("fail", format!("{}: not a folder", site.path("store").display())));
}

#[test]
fn warnings_fail_only_a_strict_check() {
    let site = Site::new(1);
    site.append("\n[[peer]]\nid = \"af-7\"\n");
    let ended = site.relay(&["check"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.stdout.contains("warn   peer          [[peer]] af-7 is not a relay of roster version 1\n"),
        "{ended:?}"
    );
    assert_eq!(site.relay(&["check", "--strict"]).code, 1);
}
