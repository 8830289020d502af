//! Configuration files for the nodes, as an operator would write them.

use crate::federation::{AgencyFiles, RelayFiles};

/// relay.toml. Paths are relative to its folder.
pub(crate) fn relay_toml(relay: &RelayFiles) -> String {
    let RelayFiles { id, region, quic, admin, .. } = relay;
    format!(
        r#"# Relay {id}, made by certs-dev for development.
id = "{id}"
region = "{region}"
roster = "../../roster.json"
roots = "../../roots.json"

[listen]
quic = "{quic}"
admin = "{admin}"
admin_socket = "relay.sock"

[tls]
cert = "file:link.cert.pem"
key = "file:link.key.pem"

[identity]
signing = "file:sign.key"
passphrase = "file:passphrase"

[store]
path = "store"
low_water = "256MiB"
"#
    )
}

/// liaisond.toml. Paths are relative to its folder.
pub(crate) fn liaisond_toml(agency: &AgencyFiles) -> String {
    let id = &agency.id;
    format!(
        r#"# Agency {id}, made by certs-dev for development.
agency = "{id}"
roster = "../../roster.json"
roots = "../../roots.json"

[identity]
signing = "file:identity.key"
passphrase = "file:passphrase"

[tls]
cert = "file:link.cert.pem"
key = "file:link.key.pem"

# Home relays and their addresses: those of the roster. The daemon follows them when they change.

[store]
path = "store"
min_free = "256MiB"

[api]
socket = "liaisond.sock"

[policy]
default_tlp = "amber"
"#
    )
}
