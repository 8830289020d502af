//! The same words in the API and under the seal.

use liaison_protocol::inner;

use super::model::{ContentType, Tlp};

impl From<inner::Tlp> for Tlp {
    fn from(tlp: inner::Tlp) -> Self {
        match tlp {
            inner::Tlp::Clear => Self::Clear,
            inner::Tlp::Green => Self::Green,
            inner::Tlp::Amber => Self::Amber,
            inner::Tlp::AmberStrict => Self::AmberStrict,
            inner::Tlp::Red => Self::Red,
        }
    }
}

impl From<Tlp> for inner::Tlp {
    fn from(tlp: Tlp) -> Self {
        match tlp {
            Tlp::Clear => Self::Clear,
            Tlp::Green => Self::Green,
            Tlp::Amber => Self::Amber,
            Tlp::AmberStrict => Self::AmberStrict,
            Tlp::Red => Self::Red,
        }
    }
}

impl From<inner::ContentType> for ContentType {
    fn from(kind: inner::ContentType) -> Self {
        match kind {
            inner::ContentType::Text => Self::Text,
            inner::ContentType::Stix => Self::Stix,
            inner::ContentType::Misp => Self::Misp,
            inner::ContentType::Umf => Self::Umf,
        }
    }
}

impl From<ContentType> for inner::ContentType {
    fn from(kind: ContentType) -> Self {
        match kind {
            ContentType::Text => Self::Text,
            ContentType::Stix => Self::Stix,
            ContentType::Misp => Self::Misp,
            ContentType::Umf => Self::Umf,
        }
    }
}
