use super::*;

/// As in the documentation, with every key.
const WHOLE: &str = r#"id = "eu-1"
region = "europe"
roster = "roster.json"
roots = "roots.json"
[identity]
signing = "file:sign.key"
passphrase = "credential:passphrase"
[listen]
quic  = "[::]:4433"
admin = "127.0.0.1:9464"
admin_socket = "relay.sock"
[tls]
cert = "credential:link-cert"
key  = "credential:link-key"
[store]
engine = "embedded"
path   = "store"
low_water = "5GiB"
[limits]
per_agency_bytes = "20GiB"
per_agency_rate  = "200/s"
flash_reserve    = "5%"
[[peer]]
id = "ap-1"
addr = ["ap-1.example:4433", "203.0.113.7:443"]
cost = 20
[telemetry]
log = "info"
format = "auto"
agency_labels = true
"#;

const SMALLEST: &str = r#"id = "eu-1"
region = "europe"
roster = "roster.json"
roots = "roots.json"
identity = { signing = "file:sign.key", passphrase = "file:passphrase" }
listen = { quic = "127.0.0.1:0" }
tls = { cert = "file:link.cert.pem", key = "file:link.key.pem" }
"#;

fn parse(text: &str) -> Result<RelayConfig, String> {
    RelayConfig::parse(Path::new("relay.toml"), text).map_err(|error| error.to_string())
}

#[test]
fn the_documented_file_is_read() {
    let config = RelayConfig::parse(Path::new("/etc/liaison/relay.toml"), WHOLE).unwrap();
    assert_eq!(config.id.as_str(), "eu-1");
    assert_eq!(config.roster, Path::new("/etc/liaison/roster.json"));
    assert_eq!(config.listen.admin_socket, Path::new("/etc/liaison/relay.sock"));
    assert_eq!(config.store.low_water, Size(5 << 30));
    assert_eq!(config.limits.flash_reserve.of(config.limits.per_agency_bytes.0), 1 << 30);
    assert_eq!(config.peers[0].addr.len(), 2);
    assert_eq!(config.peers[0].cost, 20);
}

#[test]
fn what_is_left_out_has_the_documented_default() {
    let config = parse(SMALLEST).unwrap();
    assert_eq!(config.listen.admin, None);
    assert_eq!(config.listen.admin_socket, Path::new("./relay.sock"));
    assert_eq!(config.listen.admin_socket_mode.bits(), 0o600);
    assert_eq!(config.store.path, Path::new("./store"));
    assert_eq!(config.store.low_water, Size(1 << 30));
    assert_eq!(config.limits.per_agency_bytes, Size(10 << 30));
    assert_eq!(config.limits.per_agency_rate, None);
    assert_eq!(config.telemetry.log.to_string(), "info");
    assert!(config.telemetry.agency_labels);
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
    let text = WHOLE.replace("per_agency_bytes", "per_agency_byte");
    assert_eq!(
        parse(&text).unwrap_err(),
        "relay.toml:20: [limits] per_agency_byte: unknown key, did you mean 'per_agency_bytes'?"
    );
}

#[test]
fn all_mistakes_of_a_file_come_at_once() {
    let text = r#"id = "EU-1"
region = "europe"
roster = "roster.json"
[listen]
quic = "4433"
admin = "0.0.0.0:9464"
admin_socket_mode = "0666"
[tls]
cert = "link.cert.pem"
[store]
engine = "postgres"
low_water = "1KiB"
[limits]
per_agency_rate = 200
flash_reserve = "95%"
[[peer]]
id = "ap-1"
addr = "ap-1.example"
[[peer]]
id = "ap-1"
cost = 0
[telemetry]
log = "loud"
otlp = "http://127.0.0.1:4317"
"#;
    let expected = "\
relay.toml:1: id: 'E' in 'EU-1' is not allowed: names use a-z, 0-9, '.' and '-'
relay.toml:5: [listen] quic: invalid socket address syntax
relay.toml:6: [listen] admin: is not a loopback address, so that [listen] admin_token is needed: metrics say who writes to whom
relay.toml:7: [listen] admin_socket_mode: unknown value '0666', did you mean '0660'?
relay.toml:8: [tls] key: missing
relay.toml:9: [tls] cert: write \"file:PATH\" or \"credential:NAME\"; secrets themselves do not belong in this file
relay.toml:11: [store] engine: unknown value 'postgres'; one of: embedded
relay.toml:12: [store] low_water: 1KiB is out of range, 64MiB to 100TiB
relay.toml:14: [limits] per_agency_rate: expected text in quotes, found a number; sizes, durations and rates are quoted and carry a unit
relay.toml:15: [limits] flash_reserve: 95% is out of range, 0% to 50%
relay.toml:18: [[peer]] addr: 'ap-1.example' is not an address: write host:port, [IPv6]:port for example
relay.toml:21: [[peer]] cost: 0 is out of range, 1 to 1000
relay.toml:23: [telemetry] log: 'loud' is not a log filter: begin with one of off, error, warn, info, debug, trace
relay.toml:24: [telemetry] otlp: unknown key; known here: log, format, agency_labels
relay.toml: roots: missing
relay.toml: [identity] signing: missing
relay.toml: [identity] passphrase: missing";
    assert_eq!(parse(text).unwrap_err(), expected);
}

#[test]
fn a_peer_stands_once_and_is_not_this_relay() {
    let twice = format!("{SMALLEST}[[peer]]\nid = \"ap-1\"\n[[peer]]\nid = \"ap-1\"\n[[peer]]\nid = \"eu-1\"\n");
    let said = parse(&twice).unwrap_err();
    assert_eq!(
        said,
        "relay.toml:8: peer: 'ap-1' has two entries; put all its addresses into one\n\
         relay.toml:8: peer: 'eu-1' is this relay itself"
    );
}

#[test]
fn addresses_have_a_host_and_a_port() {
    for good in ["ap-1.example:4433", "203.0.113.7:443", "[2001:db8::1]:4433", "localhost:1"] {
        good.parse::<Address>().unwrap();
    }
    for bad in ["", "host", ":443", "host:0", "host:65536", "2001:db8::1:443", "[::1]", "[nope]:1", "a b:1"] {
        assert!(bad.parse::<Address>().is_err(), "{bad}");
    }
}

#[test]
fn a_change_that_a_reload_cannot_apply_is_named() {
    let running = parse(WHOLE).unwrap();
    let changed = WHOLE.replace("20GiB", "30GiB").replace("log = \"info\"", "log = \"debug\"").replace("9464", "9465");
    assert_eq!(parse(&changed).unwrap().needs_restart(&running), ["[listen]", "[limits]"]);
    assert!(running.needs_restart(&running).is_empty());
}

#[test]
fn an_admin_listener_beyond_loopback_takes_a_token() {
    let text = WHOLE.replace("admin = \"127.0.0.1:9464\"", "admin = \"0.0.0.0:9464\"\nadmin_token = \"file:token\"");
    assert!(parse(&text).unwrap().listen.admin_token.is_some());
}

#[test]
fn the_admin_socket_is_found_in_a_file_that_is_being_edited() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    std::fs::write(&file, "id = 7\n[listen]\nadmn = 1\nadmin_socket = 'x.sock'\n").unwrap();
    assert_eq!(RelayConfig::admin_socket(&file).unwrap(), folder.path().join("x.sock"));
    std::fs::write(&file, "id = 'eu-1'\n").unwrap();
    assert_eq!(RelayConfig::admin_socket(&file).unwrap(), folder.path().join("relay.sock"));
    std::fs::write(&file, "id = \n").unwrap();
    assert!(RelayConfig::admin_socket(&file).is_err());
}
