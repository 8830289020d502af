//! A federation is made whole or not at all, and everything in it fits together.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use certs_dev::{Federation, Kdf, MakeError, Options, agree, disagree, make, remove_agency, set_status};
use liaison_protocol::keyfile::{KeyRole, open_keys};
use liaison_protocol::precedence::Precedence;
use liaison_protocol::roster::{AgencyStatus, Party, Roster, RosterError, RosterVersion};
use liaison_protocol::{AgencyId, NodeId, SigningKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

fn fast(folder: &Path) -> Options {
    Options { kdf: Kdf::Fast, ..Options::new(folder.join("fed")) }
}

fn agency(id: &str) -> AgencyId {
    id.parse().unwrap()
}

fn walk(folder: &Path, visit: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        visit(&path);
        if path.is_dir() {
            walk(&path, visit);
        }
    }
}

#[test]
fn every_key_is_the_one_that_the_roster_lists() {
    let folder = tempfile::tempdir().unwrap();
    let federation = make(&fast(folder.path())).unwrap();
    let roster = federation.roster().unwrap();
    assert_eq!((roster.version(), roster.federation().to_string()), (RosterVersion(1), federation.federation.clone()));
    assert_eq!((roster.relays().count(), roster.agencies().count()), (2, 3));
    for relay in &federation.relays {
        let node = check_node(&roster, &federation.relay_folder(&relay.id), "sign.key", &relay.id);
        assert_eq!(node, [KeyRole::Signing]);
        assert_eq!(roster.relay(&relay.id).unwrap().addresses, [relay.quic.to_string()]);
    }
    for agency in &federation.agencies {
        let folder = federation.agency_folder(&agency.id);
        let node = check_node(&roster, &folder, "identity.key", &NodeId::from(&agency.id));
        assert_eq!(node, [KeyRole::Signing, KeyRole::AtRest]);
    }
    assert!(roster.agreement(&agency("ncb.sg"), &agency("ncb.ee")).is_some());
}

/// Opens a node's key file and certificate as a node would, and gives the roles of its keys.
fn check_node(roster: &Roster, folder: &Path, key_file: &str, id: &NodeId) -> Vec<KeyRole> {
    let passphrase = fs::read(folder.join("passphrase")).unwrap();
    let keys = open_keys(passphrase.trim_ascii_end(), &fs::read(folder.join(key_file)).unwrap()).unwrap();
    let signing = SigningKey::from_seed(&keys[0].secret.seed().unwrap());
    let public = signing.verifying_key();
    assert_eq!(roster.sign_key(id, public.key_id(), roster.issued()), Some(public));

    let certificate = CertificateDer::from_pem_file(folder.join("link.cert.pem")).unwrap();
    assert!(certificate.len() <= 4096);
    let parsed = webpki::EndEntityCert::try_from(&certificate).unwrap();
    let spki = parsed.subject_public_key_info();
    let (prefix, tls_key) = spki.split_last_chunk::<32>().unwrap();
    assert_eq!(prefix, [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00]);
    assert_eq!(roster.node_by_tls_key(tls_key), Some(id));
    let key = PrivateKeyDer::from_pem_file(folder.join("link.key.pem")).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let signer = provider.key_provider.load_private_key(key).unwrap();
    rustls::sign::CertifiedKey::new(vec![certificate], signer).keys_match().unwrap();
    keys.iter().map(|key| key.role).collect()
}

#[test]
fn secrets_are_for_their_owner_and_no_temporary_file_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let federation = make(&fast(folder.path())).unwrap();
    let mut secrets = 0;
    walk(folder.path(), &mut |path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let is_secret = name.ends_with(".key") || name.ends_with(".key.pem") || name == "passphrase";
        assert_eq!(mode & 0o077 == 0, is_secret || path.is_dir(), "{} has mode {mode:o}", path.display());
        assert!(!name.ends_with(".tmp"));
        secrets += usize::from(is_secret);
    });
    assert_eq!(secrets, 3 + 1 + 3 * 5);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(Federation::load(federation.folder()).unwrap(), federation);
}

#[test]
fn configuration_files_are_toml_and_name_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { relays_per_region: 2, base_port: Some(40_000), ..fast(folder.path()) };
    let federation = make(&options).unwrap();
    let read = |path: &Path| fs::read_to_string(path).unwrap().parse::<toml::Table>().unwrap();
    let relay: NodeId = "eu-2".parse().unwrap();
    let config = read(&federation.relay_config(&relay));
    assert_eq!(config["listen"]["quic"].as_str(), Some("127.0.0.1:40006"));
    assert_eq!(config["listen"]["admin"].as_str(), Some("127.0.0.1:40007"));
    for key in ["roster", "roots"] {
        assert!(federation.relay_folder(&relay).join(config[key].as_str().unwrap()).is_file());
    }
    let config = read(&federation.agency_config(&agency("ncb.fr")));
    // Home relays and their addresses come from the roster, which daemons follow.
    assert!(!config.contains_key("relays"));
    for (table, key) in [("identity", "signing"), ("identity", "passphrase"), ("tls", "cert"), ("tls", "key")] {
        let file = config[table][key].as_str().unwrap().strip_prefix("file:").unwrap();
        assert!(federation.agency_folder(&agency("ncb.fr")).join(file).is_file(), "{table}.{key}");
    }
}

#[test]
fn a_folder_that_holds_something_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let options = fast(folder.path());
    fs::create_dir(&options.out).unwrap();
    fs::write(options.out.join("thesis.txt"), "years of work").unwrap();
    assert!(matches!(make(&options), Err(MakeError::NotEmpty { .. })));
    assert_eq!(fs::read_dir(&options.out).unwrap().count(), 1);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing beside it either");

    fs::remove_file(options.out.join("thesis.txt")).unwrap();
    assert!(make(&options).is_ok(), "an empty one is filled");
    assert!(matches!(make(&options), Err(MakeError::NotEmpty { .. })));
}

#[test]
fn options_out_of_bounds_make_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options = fast(folder.path());
    for bad in [
        Options { regions: 0, ..options.clone() },
        Options { agencies: 0, ..options.clone() },
        Options { relays_per_region: 21, ..options.clone() },
        Options { name: "x".repeat(64), ..options.clone() },
        Options { base_port: Some(65_535), ..options },
    ] {
        assert!(make(&bad).is_err());
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn new_versions_follow_the_old_one_and_carry_their_change() {
    let folder = tempfile::tempdir().unwrap();
    let federation = make(&fast(folder.path())).unwrap();
    let one = federation.roster().unwrap();
    let two = federation.publish(|roster| remove_agency(roster, &agency("ncb.fr"))).unwrap();
    assert_eq!(two.version(), RosterVersion(2));
    assert!(two.agency(&agency("ncb.fr")).is_none() && Roster::verify_next(two.signed(), &one).is_ok());

    let named = |id: &str| Party::Agency(agency(id));
    let three = federation
        .publish(|roster| {
            disagree(roster, &Party::Any, &Party::Any);
            agree(roster, named("ncb.sg"), named("ncb.ee"), Precedence::Routine);
            set_status(roster, &agency("ncb.ee"), AgencyStatus::Suspended);
        })
        .unwrap();
    assert!(three.agreement(&agency("ncb.sg"), &agency("ncb.ee")).is_none(), "suspended");
    let four = federation.publish(|roster| set_status(roster, &agency("ncb.ee"), AgencyStatus::Active)).unwrap();
    let most = four.agreement(&agency("ncb.sg"), &agency("ncb.ee")).map(|agreement| agreement.max_precedence);
    assert_eq!(most, Some(Precedence::Routine));
    assert!(four.agreement(&agency("ncb.ee"), &agency("ncb.sg")).is_none());
    assert_eq!(federation.roster().unwrap().version(), RosterVersion(4));

    let fork = federation.sign_next(&one, |roster| roster.min_suite = 2).unwrap();
    assert!(Roster::verify_next(&fork, &one).is_ok());
    let refused = federation.publish(|roster| roster.expires = roster.issued.before(Duration::from_secs(1)));
    assert!(refused.is_err());
    assert_eq!(federation.roster().unwrap().version(), RosterVersion(4), "what is refused is not written");
    let older = Roster::verify_next(one.signed(), &four).map(drop);
    assert!(matches!(older, Err(RosterError::NotNewer { .. })));
}

#[test]
fn the_command_line_makes_a_federation_and_changes_its_roster() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("fed");
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_certs-dev")).args(args).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (done, told, _) = run(&[out.to_str().unwrap(), "--fast-kdf", "--agencies", "2", "--regions", "1"]);
    assert!(done && told.contains("liaison-relay run --config") && told.contains("liaisond --config"), "{told}");
    let (done, told, _) = run(&["roster", out.to_str().unwrap(), "--remove", "ncb.ee", "--agree", "ncb.sg:*:flash"]);
    assert!(done && told.contains("roster v2"), "{told}");
    let roster = Federation::load(&out).unwrap().roster().unwrap();
    assert_eq!((roster.agencies().count(), roster.agreements().count()), (1, 2));
    let (done, _, error) = run(&["roster", out.to_str().unwrap(), "--remove", "ncb.xx"]);
    assert!(!done && error.contains("ncb.xx is not in roster v2"), "{error}");
    let (done, _, error) = run(&[out.to_str().unwrap()]);
    assert!(!done && error.contains("is not empty"), "{error}");
}
