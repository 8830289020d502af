use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use liaison_node::http::{SocketFile, bind};
use liaison_node::metric::{AgencyLabels, StatusGauges};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::{LISTENER, SOCKET_MODE, Streams, Surface, serve};
use crate::api::client::{Client, ClientError};
use crate::api::model::{
    AttachmentRef, EventKind, EventQuery, ListQuery, MessageState, NewUpload, Problem, ProblemCode,
};
use crate::testing::{Desk, Federation, spawn, submission};

/// A daemon's API on a socket of its own.
struct Api {
    client: Client,
    _file: SocketFile,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Api {
    fn of(desk: &Desk) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let (listener, file) = bind(&path, SOCKET_MODE, LISTENER).unwrap();
        let stop = CancellationToken::new();
        let surface = Surface {
            office: Arc::clone(&desk.office),
            operator: desk.operator.clone(),
            home: Vec::new(),
            metrics: None,
            gauges: Mutex::new(StatusGauges::new(AgencyLabels::Each)),
            stop: stop.clone(),
            streams: Streams::default(),
        };
        let serving = spawn(serve(listener, Arc::new(surface)));
        Self { client: Client::new(&path), _file: file, stop, serving, _folder: folder }
    }

    /// Sends bytes as they are; gives the answer up to `enough` of it.
    async fn raw(&self, request: &str, enough: impl Fn(&str) -> bool) -> String {
        let mut stream = UnixStream::connect(self.client.socket()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let mut buffer = vec![0; 64 * 1024];
        while !enough(&answer) {
            match stream.read(&mut buffer).await.unwrap() {
                0 => break,
                length => answer.push_str(&String::from_utf8_lossy(&buffer[..length])),
            }
        }
        answer
    }

    async fn get(&self, path: &str, headers: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
        self.raw(&request, |_| false).await
    }
}

async fn pair(federation: &Federation) -> (Desk, Desk) {
    let (a, b) = (federation.start("ncb.sg").await, federation.start("ncb.ee").await);
    a.learn_keys_of(&b).await;
    b.learn_keys_of(&a).await;
    (a, b)
}

fn code(error: &ClientError) -> String {
    match error {
        ClientError::Problem(problem) => problem.code.clone(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_message_goes_through_the_api_from_submission_to_hand_over() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let (sender, receiver) = (Api::of(&a), Api::of(&b));
    let file = vec![7u8; 300_000];
    let upload = NewUpload { name: "f".into(), total_len: file.len() as u64 };
    let upload = sender.client.new_upload(&upload).await.unwrap().id;
    sender.client.append(&upload, 0, Bytes::from(file.clone())).await.unwrap();
    let mut wanted = submission(&[&b], "one");
    wanted.attachments = vec![AttachmentRef { upload, name: "f.bin".into() }];
    let submitted = sender.client.submit(&wanted, Some("key")).await.unwrap();
    let id = submitted.id.unwrap();
    assert!(sender.client.submit(&wanted, Some("key")).await.unwrap().repeated);
    a.exchange(&b, || a.is(id.0, MessageState::Delivered)).await;

    let text = id.to_string();
    let listed = receiver.client.inbox(&ListQuery::default()).await.unwrap().items;
    assert_eq!((listed.len(), listed[0].parts_here), (1, 2));
    assert_eq!(receiver.client.message(&text[..8]).await.unwrap().text, "text of one");
    let mut octets = receiver.client.part(&text, 1).await.unwrap();
    let mut read = Vec::new();
    while let Some(piece) = octets.next().await.unwrap() {
        read.extend_from_slice(&piece);
    }
    assert_eq!(read, file);
    receiver.client.ack(&text).await.unwrap();
    receiver.client.mark_read(&text).await.unwrap();
    assert!(receiver.client.message(&text).await.unwrap().acked);
    assert_eq!(sender.client.custody(&text).await.unwrap().state, MessageState::Delivered);
    assert!(sender.client.receipts(&text).await.unwrap().complete);
    assert!(!sender.client.evidence(&text).await.unwrap().is_empty());
    assert_eq!(sender.client.status().await.unwrap().outbox.open, 0);
    assert!(sender.client.doctor().await.unwrap().findings.len() > 5);
    assert_eq!(sender.client.agencies().await.unwrap().agencies.len(), 3);
    assert_eq!(code(&receiver.client.custody(&text).await.unwrap_err()), ProblemCode::WrongDirection.as_str());
    assert_eq!(code(&sender.client.cancel(&text).await.unwrap_err()), ProblemCode::AlreadySent.as_str());
}

#[tokio::test]
async fn a_long_poll_answers_as_soon_as_something_happens() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let api = Api::of(&b);
    let start = api.client.events(&EventQuery::default()).await.unwrap();
    assert!(start.items.is_empty());
    let query = EventQuery { after: Some(start.next), wait: Some(20), limit: None };
    let (client, waiting) = (api.client.clone(), query.clone());
    let poll = spawn_poll(client, waiting);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let id = a.send(&[&b], "one").await;
    a.deliver(&b).await;
    let page = tokio::time::timeout(std::time::Duration::from_secs(5), poll).await.unwrap().unwrap();
    assert_eq!((page.items[0].kind, page.items[0].id), (EventKind::Received, Some(id.into())));
    assert_eq!(page.next, page.items[0].cursor);
    let past = EventQuery { wait: Some(61), ..query };
    assert_eq!(code(&api.client.events(&past).await.unwrap_err()), ProblemCode::BadRequest.as_str());
}

#[expect(clippy::disallowed_methods, reason = "the test awaits it")]
fn spawn_poll(client: Client, query: EventQuery) -> tokio::task::JoinHandle<crate::api::model::EventPage> {
    tokio::spawn(async move { client.events(&query).await.unwrap() })
}

#[tokio::test]
async fn a_stream_of_events_resumes_by_its_last_id_and_ends_with_the_daemon() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let api = Api::of(&b);
    for subject in ["one", "two"] {
        a.send(&[&b], subject).await;
    }
    a.deliver(&b).await;
    let request =
        |headers: &str| format!("GET /v1/events HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n{headers}\r\n");
    let received = |text: &str| text.matches("event: message.received").count();
    let all = api.raw(&request("last-event-id: 0\r\n"), |text| received(text) == 2 && text.ends_with("\n\r\n")).await;
    assert!(all.contains("content-type: text/event-stream"));
    let first = all.split("id: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    let rest = api.raw(&request(&format!("last-event-id: {first}\r\n")), |text| received(text) >= 1).await;
    assert!(!rest.contains(&format!("id: {first}\n")));
    let wrong = api.get("/v1/events", "accept: text/event-stream\r\nlast-event-id: x\r\n").await;
    assert!(wrong.starts_with("HTTP/1.1 400"), "{wrong}");

    // With a limit the answer ends.
    let one = api.get("/v1/events?limit=1", "accept: text/event-stream\r\nlast-event-id: 0\r\n").await;
    assert_eq!(one.matches("\nid: ").count(), 1, "{one}");

    let mut stream = UnixStream::connect(api.client.socket()).await.unwrap();
    stream.write_all(request("").as_bytes()).await.unwrap();
    let mut some = [0; 16];
    stream.read_exact(&mut some).await.unwrap();
    api.stop.cancel();
    let serving = tokio::time::timeout(std::time::Duration::from_secs(5), api.serving).await;
    serving.expect("it does not wait for its readers").unwrap();
}

#[tokio::test]
async fn what_is_wrong_is_told_in_problem_documents() {
    let federation = Federation::new();
    let a = federation.start("ncb.sg").await;
    let api = Api::of(&a);
    let post = |path: &str, headers: &str, body: &str| {
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        )
    };
    let json = "content-type: application/json\r\n";
    let cases = [
        (post("/v1/messages", json, "{"), 400),
        (post("/v1/messages", json, r#"{"to":["NCB.EE"],"subject":"s"}"#), 400),
        (post("/v1/messages", json, r#"{"to":["ncb.ee"],"subject":"s","tpl":"red"}"#), 400),
        (post("/v1/messages", "", r#"{"to":["ncb.ee"],"subject":"s"}"#), 400),
        (post("/v1/messages", json, r#"{"to":["ncb.ee"],"subject":"s"}"#), 422),
        (post("/v1/uploads", json, r#"{"name":"x","total_len":-1}"#), 400),
        (post("/v1/nothing", json, "{}"), 404),
        (post("/v1/status", json, "{}"), 405),
        (post("/v1/inbox/..%2f..%2fetc/ack", "", ""), 404),
    ];
    for (request, status) in cases {
        let answer = api.raw(&request, |_| false).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}\n{answer}");
        assert!(answer.contains("content-type: application/problem+json"), "{answer}");
        let body = answer.split("\r\n\r\n").nth(1).unwrap();
        let problem: Problem = serde_json::from_str(body).unwrap();
        assert_eq!(problem.status, status);
    }
    // A body that says that it is too long is not read.
    let huge = format!("POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n{json}\r\n");
    let answer = api.raw(&huge, |text| text.contains("too_large")).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let unread = api.get("/v1/inbox?limit=0", "").await;
    assert!(unread.starts_with("HTTP/1.1 400"), "{unread}");
    let health = api.get("/healthz", "").await;
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
}

#[test]
fn the_document_names_every_path_of_the_contract() {
    let document = serde_json::to_value(super::document()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths: BTreeSet<_> = document["paths"].as_object().unwrap().keys().cloned().collect();
    for path in [
        "/v1/messages",
        "/v1/messages/{id}",
        "/v1/messages/{id}/custody",
        "/v1/messages/{id}/receipts",
        "/v1/messages/{id}/evidence",
        "/v1/messages/{id}/cancel",
        "/v1/messages/{id}/retry",
        "/v1/messages/{id}/read",
        "/v1/messages/{id}/parts/{n}",
        "/v1/threads/{id}",
        "/v1/uploads",
        "/v1/uploads/{id}",
        "/v1/inbox",
        "/v1/inbox/{id}/ack",
        "/v1/outbox",
        "/v1/outbox/retry",
        "/v1/events",
        "/v1/agencies",
        "/v1/status",
        "/v1/doctor",
        "/v1/openapi.json",
        "/healthz",
        "/readyz",
        "/metrics",
    ] {
        assert!(paths.contains(path), "{path}");
    }
    let referenced = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in referenced.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(schemas.contains_key(name), "{name} is referred to, and missing");
    }
}
