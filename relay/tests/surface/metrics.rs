//! What a scrape of a real relay gives.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use liaison_node::metric::{FamilyKind, RELAY};

use crate::site::{Site, get};

#[test]
fn every_series_is_in_the_catalogue_with_bounded_labels_and_counters_at_zero() {
    let site = Site::new(1);
    let running = site.start();
    let (status, text) = get(site.admin(), "/metrics", "");
    assert_eq!(status, 200);
    let mut seen = BTreeSet::new();
    let mut helped = BTreeSet::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped.insert(help.split(' ').next().unwrap().to_owned());
        } else if !line.starts_with('#') {
            let (name, labels, value) = sample(line);
            let family = RELAY.iter().find(|family| belongs(family.kind, family.name, &name));
            let family = family.unwrap_or_else(|| panic!("not in the catalogue: {line}"));
            assert!(helped.contains(family.name), "no HELP before {line}");
            seen.insert(family.name);
            check_labels(&labels, line);
            if matches!(family.kind, FamilyKind::Counter) && !name.starts_with("liaison_admin") {
                assert_eq!(value, "0", "{line}");
            }
        }
    }
    let counters = RELAY.iter().filter(|family| matches!(family.kind, FamilyKind::Counter));
    for counter in counters {
        assert!(seen.contains(counter.name), "{} is not born", counter.name);
    }
    for gauge in ["liaison_ready", "liaison_build_info", "liaison_roster_version", "liaison_store_free_bytes"] {
        assert!(seen.contains(gauge), "{gauge}");
    }
    assert_eq!(running.stop().code, 0);
}

fn belongs(kind: FamilyKind, family: &str, name: &str) -> bool {
    let rest = name.strip_prefix(family);
    match kind {
        FamilyKind::Histogram(_) => matches!(rest, Some("_bucket" | "_sum" | "_count")),
        FamilyKind::Counter | FamilyKind::Gauge => rest == Some(""),
    }
}

/// Name, labels and value of one line.
fn sample(line: &str) -> (String, BTreeMap<String, String>, String) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let Some((name, labels)) = series.split_once('{') else { return (series.into(), BTreeMap::new(), value.into()) };
    let pairs = labels
        .strip_suffix('}')
        .unwrap()
        .split("\",")
        .map(|pair| pair.trim_end_matches('"').split_once("=\"").unwrap());
    (name.into(), pairs.map(|(key, value)| (key.into(), value.into())).collect(), value.into())
}

fn check_labels(labels: &BTreeMap<String, String>, line: &str) {
    let known = [
        "action",
        "agency",
        "commit",
        "engine",
        "kind",
        "le",
        "op",
        "peer",
        "peer_role",
        "precedence",
        "protocol",
        "reason",
        "result",
        "role",
        "version",
    ];
    for label in labels.keys() {
        assert!(known.contains(&label.as_str()), "{label} in {line}");
    }
}

#[test]
fn a_token_guards_metrics_and_not_health() {
    let site = Site::new(1);
    site.edit("admin_socket", "admin_token = \"file:token\"\nadmin_socket");
    fs::write(site.path("token"), "0123456789abcdef\n").unwrap();
    let said = site.relay(&["run"]);
    assert_eq!(said.code, 78, "others can read it: {said:?}");
    fs::set_permissions(site.path("token"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let running = site.start();
    assert_eq!(get(site.admin(), "/metrics", "").0, 401);
    assert_eq!(get(site.admin(), "/metrics", "Authorization: Bearer 0123456789abcdeg\r\n").0, 401);
    assert_eq!(get(site.admin(), "/metrics", "Authorization: Bearer 0123456789abcdef\r\n").0, 200);
    assert_eq!(get(site.admin(), "/healthz", "").0, 200);
    assert_eq!(running.stop().code, 0);
}

#[test]
fn a_web_page_that_rebinds_its_name_gets_no_metrics() {
    let site = Site::new(1);
    let running = site.start();
    for (host, status) in
        [("evil.example", 421), ("evil.example:9464", 421), ("localhost:9464", 200), ("[::1]:9464", 200)]
    {
        assert_eq!(get(site.admin(), "/metrics", &format!("Host: {host}\r\n")).0, status, "{host}");
    }
    assert_eq!(running.stop().code, 0);
}
