//! Makes a throw-away federation for development: root keys, roster, identities, certificates, configuration files.
//!
//! Not for production: all root keys lie in one folder, and every passphrase beside the key that it opens.
//!
//! ```text
//!  OUT_DIR/ federation.json   what was made, for programs
//!           roster.json       signed by k of n roots        roots.json   the public roots, given to every node
//!           roots/            root-1.key … and their passphrase
//!           relays/ap-1/      relay.toml     sign.key      link.cert.pem  link.key.pem  passphrase
//!           agencies/ncb.sg/  liaisond.toml  identity.key  link.cert.pem  link.key.pem  passphrase
//! ```
//!
//! ```no_run
//! use certs_dev::{Options, make, remove_agency};
//!
//! let federation = make(&Options::new("/tmp/fed"))?;
//! let ncb_fr = "ncb.fr".parse()?;
//! federation.publish(|roster| remove_agency(roster, &ncb_fr))?;   // version 2, without ncb.fr
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod federation;
mod files;
mod keys;
mod make;
mod plan;
mod ports;
mod publish;

pub use federation::{AgencyFiles, Federation, RelayFiles};
pub use files::FileError;
pub use keys::{KeyError, LinkCertificate, link_certificate};
pub use make::{Kdf, MakeError, Options, make};
pub use publish::{PublishError, agree, disagree, remove_agency, set_status};

use getrandom::SysRng;
use liaison_protocol::Timestamp;
use rand_core::UnwrapErr;

/// The system's random source. A system without one is no place to make keys, so a failure panics.
const fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// The system's clock.
fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::ZERO.after(since_epoch)
}
