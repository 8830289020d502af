//! Paths with queries.

use std::fmt::{Display, Write};

use crate::api::model::{EventQuery, ListOrder, ListQuery, SentFilter};

/// A path with its query under construction.
pub(super) struct Query(String);

impl Query {
    pub(super) fn list(path: &str, query: &ListQuery) -> String {
        let order = query.order.map(|order| match order {
            ListOrder::Oldest => "oldest",
            ListOrder::Newest => "newest",
        });
        let sent = query.sent.map(|sent| match sent {
            SentFilter::Waiting => "waiting",
            SentFilter::Failed => "failed",
        });
        Self(path.into())
            .with("after", query.after)
            .with("before", query.before)
            .with("limit", query.limit)
            .with("unread", query.unread)
            .with("from", query.from.as_ref())
            .with("tlp", query.tlp)
            .with("since", query.since)
            .with("until", query.until)
            .with("sent", sent)
            .with("order", order)
            .0
    }

    pub(super) fn events(path: &str, query: &EventQuery) -> String {
        Self(path.into()).with("after", query.after).with("wait", query.wait).with("limit", query.limit).0
    }

    fn with(mut self, name: &str, value: Option<impl Display>) -> Self {
        if let Some(value) = value {
            let mark = if self.0.contains('?') { '&' } else { '?' };
            self.0 = format!("{}{mark}{name}={}", self.0, encode(&value.to_string()));
        }
        self
    }
}

/// Percent-encoding of everything but RFC 3986's unreserved characters.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::model::Tlp;

    #[test]
    fn a_query_names_only_what_is_given_and_encodes_it() {
        assert_eq!(Query::list("/v1/inbox", &ListQuery::default()), "/v1/inbox");
        let query = ListQuery {
            limit: Some(5),
            tlp: Some(Tlp::AmberStrict),
            since: Some("2026-11-24T14:02:11Z".parse().unwrap()),
            order: Some(ListOrder::Newest),
            ..ListQuery::default()
        };
        let path = Query::list("/v1/inbox", &query);
        assert_eq!(path, "/v1/inbox?limit=5&tlp=amber%2Bstrict&since=2026-11-24T14%3A02%3A11.000Z&order=newest");
    }

    #[test]
    fn an_id_cannot_leave_its_place_in_the_path() {
        assert_eq!(encode("../x?y"), "..%2Fx%3Fy");
    }
}
