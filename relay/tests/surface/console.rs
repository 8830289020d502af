//! The admin listeners before a run loop that the test plays: what it says is what operators see.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use liaison_node::clock;
use liaison_node::http::{Door, SocketFile, bind};
use liaison_node::metric::AgencyLabels;
use liaison_node::operator::{
    self, DrainStatus, OperatorAnswer, OperatorAsked, OperatorError, OperatorRequest, OperatorRequests,
};
use liaison_node::status::{NodeStatus, QueueState, QueueStatus};
use liaison_protocol::{Hash, MessageId};
use liaison_relay::admin::client::{Client, ClientError};
use liaison_relay::admin::{LISTENER, Surface, serve};
use liaison_relay::config::{RelayConfig, SocketMode};
use liaison_relay::reload::Reloader;
use liaison_relay::telemetry::{Exporter, LogHandle};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::site::{Ended, Site, program};

static EXPORTER: LazyLock<Exporter> = LazyLock::new(|| Exporter::install(AgencyLabels::Each).unwrap());

struct Console {
    socket: PathBuf,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    _file: SocketFile,
    _site: Site,
}

impl Console {
    /// Serves with a run loop that answers as `answer` says.
    fn start(answer: impl FnMut(OperatorRequest) -> Answered + Send + 'static) -> Self {
        let site = Site::new(1);
        let socket = site.path("relay.sock");
        let (listener, file) = bind(&socket, SocketMode::User.bits(), LISTENER).unwrap();
        let (operator, requests) = operator::channel();
        let (_, roster) = watch::channel(Arc::new(site.federation.roster().unwrap()));
        let config = RelayConfig::load(&site.config()).unwrap();
        let reloader = Reloader::new(site.config(), config, LogHandle::none());
        let surface = Arc::new(Surface { operator, exporter: EXPORTER.clone(), reloader, roster });
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(Door::Unix(listener), surface.socket_router(), stop.clone()));
        tasks.spawn(play(requests, answer));
        Self { socket, stop, tasks, _file: file, _site: site }
    }

    async fn relay(&self, arguments: &[&str]) -> Ended {
        let mut command = program();
        command.arg("--socket").arg(&self.socket).args(arguments);
        tokio::task::spawn_blocking(move || Ended::from(command.output().unwrap())).await.unwrap()
    }

    async fn end(mut self) {
        self.stop.cancel();
        self.tasks.join_next().await.unwrap().unwrap();
        self.tasks.shutdown().await;
    }
}

/// `None`: the run loop hangs.
type Answered = Option<Result<OperatorAnswer, OperatorError>>;

async fn play(mut requests: OperatorRequests, mut answer: impl FnMut(OperatorRequest) -> Answered) {
    let mut unanswered = Vec::new();
    while let Some(OperatorAsked { request, reply }) = requests.recv().await {
        match answer(request) {
            Some(answer) => drop(reply.send(answer)),
            None => unanswered.push(reply),
        }
    }
}

fn status(queues: Vec<QueueStatus>) -> Box<NodeStatus> {
    let text = r#"{"id":"ap-1","role":"relay","region":"asia","version":"0.1.0","uptime_s":5,"draining":false,
        "clock_offset_ms":null,"roster":{"version":1,"hash":"HASH","expires_ms":9999999999999,"signed":2,"threshold":2,
        "standing":"current","own_keys_expire_ms":null},"store":{"used_bytes":1,"free_bytes":2,"low_water_bytes":1,
        "writable":true,"commit_p50_ms":1.5},"links":[],"queues":[],"alarms":[]}"#;
    let status: NodeStatus = serde_json::from_str(&text.replace("HASH", &"07".repeat(32))).unwrap();
    Box::new(NodeStatus { queues, ..status })
}

fn backlog(agency: &str, entries: u64) -> QueueStatus {
    let oldest = Some(clock::now().before(Duration::from_secs(3_600)));
    QueueStatus {
        queue: agency.parse().unwrap(),
        via: None,
        entries,
        bytes: 1 << 20,
        oldest_ms: oldest,
        by_precedence: [entries, 0, 0, 0, 0],
        bytes_by_precedence: [1 << 20, 0, 0, 0, 0],
        oldest_by_precedence_ms: [oldest, None, None, None, None],
        state: QueueState::Offline,
        last_error: None,
        next_try_ms: None,
    }
}

/// A run loop that only knows its status.
fn knows(status: Box<NodeStatus>) -> impl FnMut(OperatorRequest) -> Answered {
    move |request| match request {
        OperatorRequest::Status => Some(Ok(OperatorAnswer::Status(status.clone()))),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_listed_sorted_filtered_and_judged() {
    let console = Console::start(knows(status(vec![backlog("ncb.ee", 3), backlog("ncb.fr", 1_204)])));
    let names = |ended: &Ended| -> Vec<String> {
        ended.stdout.lines().skip(1).map(|line| line.split(' ').next().unwrap().into()).collect()
    };
    let all = console.relay(&["queues"]).await;
    assert_eq!((all.code, names(&all)), (0, vec!["ncb.ee".into(), "ncb.fr".into()]));
    assert!(all.stderr.starts_with("2 queues not empty; oldest flash 1 h"), "{all:?}");
    assert!(!all.stdout.contains('\u{1b}'), "no colour in a pipe: {all:?}");
    assert_eq!(names(&console.relay(&["queues", "--sort", "depth"]).await)[0], "ncb.fr");
    assert_eq!(names(&console.relay(&["queues", "--agency", "ncb.fr"]).await), ["ncb.fr"]);
    assert!(names(&console.relay(&["queues", "--precedence", "routine"]).await).is_empty());
    assert!(names(&console.relay(&["queues", "--older-than", "2h"]).await).is_empty());
    assert_eq!(console.relay(&["queues", "--fail-on", "oldest_flash>60s"]).await.code, 1);
    assert_eq!(console.relay(&["queues", "--fail-on", "depth>2000"]).await.code, 0);
    let json = console.relay(&["--json", "queues"]).await;
    let depths: Vec<u64> =
        json.stdout.lines().map(|line| serde_json::from_str::<QueueStatus>(line).unwrap().entries).collect();
    assert_eq!((depths, json.stderr.as_str()), (vec![3, 1_204], ""));
    console.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gauges_follow_the_status_and_fall_to_zero() {
    let mut queues = vec![backlog("ncb.jp", 7)];
    let console = Console::start(move |request| match request {
        OperatorRequest::Status => Some(Ok(OperatorAnswer::Status(status(std::mem::take(&mut queues))))),
        _ => None,
    });
    let socket = console.socket.clone();
    let scrape = move || ask(&socket, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let first = tokio::task::spawn_blocking(scrape.clone()).await.unwrap();
    assert!(first.contains("liaison_queue_messages{agency=\"ncb.jp\",precedence=\"flash\"} 7\n"), "{first}");
    assert!(first.contains("liaison_queue_bytes{agency=\"ncb.jp\",precedence=\"flash\"} 1048576\n"), "{first}");
    assert!(first.contains("liaison_ready 1\n"), "{first}");
    let second = tokio::task::spawn_blocking(scrape).await.unwrap();
    assert!(second.contains("liaison_queue_messages{agency=\"ncb.jp\",precedence=\"flash\"} 0\n"), "{second}");
    console.end().await;
}

fn ask(socket: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_node_refuses_reaches_the_operator_with_its_exit_code() {
    let console = Console::start(|request| match request {
        OperatorRequest::Trace { text, .. } => {
            let ids = vec![MessageId(Hash([1; 32])), MessageId(Hash([2; 32]))];
            Some(Err(OperatorError::Ambiguous { prefix: text, ids }))
        }
        OperatorRequest::Drain => {
            Some(Ok(OperatorAnswer::Drain(DrainStatus { draining: true, entries: 5, in_flight: 1 })))
        }
        OperatorRequest::Status => Some(Err(OperatorError::Store { cause: "no such device".into() })),
        _ => Some(Err(OperatorError::Stopping)),
    });
    let trace = console.relay(&["trace", "0"]).await;
    assert_eq!(trace.code, 65);
    assert_eq!(trace.stderr, "liaison-relay: several messages begin with '0': 040g208104, 081040g208\n");
    let drain = console.relay(&["drain", "--wait", "--timeout", "1s"]).await;
    assert_eq!(drain.code, 75);
    assert_eq!(drain.stdout, "draining: no new custody; 5 messages held, 1 in flight\n");
    assert!(
        drain.stderr.starts_with("liaison-relay: 5 messages are still held; the relay stays draining\n"),
        "{drain:?}"
    );
    let status = console.relay(&["--json", "status"]).await;
    assert_eq!((status.code, status.stdout.as_str()), (74, ""));
    assert!(status.stderr.contains(r#""code":"store_fault""#), "{status:?}");
    // The request is dropped: the run loop is going down.
    let undrain = console.relay(&["undrain"]).await;
    assert_eq!((undrain.code, undrain.stderr.as_str()), (69, "liaison-relay: the node is stopping\n"));
    console.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_loop_that_hangs_is_unhealthy_and_nobody_waits_for_ever() {
    let console = Console::start(|_| None);
    let error = Client::new(&console.socket).get::<NodeStatus>("/v1/status").await.unwrap_err();
    let ClientError::Problem(problem) = error else { panic!("{error}") };
    assert_eq!((problem.status, problem.code.as_str()), (503, "busy"));
    let health = Client::new(&console.socket).get::<serde_json::Value>("/healthz?verbose").await;
    assert!(health.is_err(), "{health:?}");
    console.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_requests_are_cut_off() {
    let console = Console::start(knows(status(vec![])));
    let socket = console.socket.clone();
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = UnixStream::connect(&socket).unwrap();
        let long = format!("GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(100_000));
        // The relay may hang up before all of it is written.
        let _ = stream.write_all(long.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    });
    let answer = answer.await.unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(Client::new(&console.socket).get::<NodeStatus>("/v1/status").await.is_ok());
    console.end().await;
}
