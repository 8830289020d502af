use super::catalogue::{BY_PEER, BY_PRECEDENCE};
use super::*;

fn family(name: &str) -> Option<&'static Family> {
    RELAY.iter().find(|family| family.name == name)
}

#[test]
fn names_follow_the_rules_of_prometheus() {
    for Family { name, kind, help } in RELAY {
        assert!(name.starts_with("liaison_"), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
        assert_eq!(name.ends_with("_total"), matches!(kind, FamilyKind::Counter), "{name}");
        for suffix in ["_count", "_sum", "_bucket", "_milliseconds", "_ms", "_kilobytes", "_percent"] {
            assert!(!name.ends_with(suffix), "{name}");
        }
        assert!(help.ends_with('.') && help.len() > 15, "{name}: {help}");
    }
}

#[test]
fn every_name_stands_once() {
    for (index, family) in RELAY.iter().enumerate() {
        assert!(RELAY.iter().skip(index + 1).all(|other| other.name != family.name), "{}", family.name);
    }
}

#[test]
fn buckets_rise() {
    for family in RELAY {
        if let FamilyKind::Histogram(buckets) = family.kind {
            assert!(buckets.windows(2).all(|pair| pair[0] < pair[1]), "{}", family.name);
        }
    }
}

#[test]
fn labelled_counters_are_in_the_catalogue() {
    for name in BY_PRECEDENCE.iter().chain(BY_PEER) {
        assert!(matches!(family(name).map(|family| family.kind), Some(FamilyKind::Counter)), "{name}");
    }
}
