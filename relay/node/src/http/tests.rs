//! Time is paused: it passes at once wherever everybody waits.

use axum::body::Bytes;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::*;

const LISTENER: Listener = Listener { program: "test", key: "socket" };
const KIB: usize = 1024;

struct Served {
    folder: tempfile::TempDir,
    _file: SocketFile,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Served {
    fn new(connections_max: usize, bodies_bytes_max: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (listener, file) = bind(&folder.path().join("s"), 0o600, LISTENER).unwrap();
        let router = Router::new()
            .route("/", get(async || "well"))
            .route("/much", get(async || vec![0u8; 64 << 20]))
            .route("/", post(async |body: Bytes| body.len().to_string()));
        let bounds =
            Bounds { connections_max, bodies_bytes_max, body_bytes_max: 64 * KIB, stop_max: Duration::from_secs(2) };
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(serve(Door::Unix(listener), router, bounds, stop.clone()));
        Self { folder, _file: file, stop, tasks }
    }

    async fn connect(&self, said: &str) -> UnixStream {
        let mut stream = UnixStream::connect(self.folder.path().join("s")).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        stream
    }

    async fn ask(&self, said: &str) -> String {
        rest(self.connect(said).await).await
    }

    async fn end(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn rest(mut stream: UnixStream) -> String {
    let mut answer = Vec::new();
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

const HONEST: &str = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

fn sends(bytes: usize) -> String {
    format!("POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {bytes}\r\n\r\n")
}

#[tokio::test(start_paused = true)]
async fn half_requests_are_hung_up_on_and_an_honest_caller_has_its_turn() {
    let served = Served::new(4, KIB * KIB);
    let mut half = Vec::new();
    for _ in 0..40 {
        half.push(served.connect("GET / HTTP/1.1\r\nhost:").await);
    }
    assert!(served.ask(HONEST).await.ends_with("well"));
    for stream in half {
        assert!(!rest(stream).await.contains("200"));
    }
    served.end().await;
}

#[tokio::test(start_paused = true)]
async fn bodies_share_their_room_and_slow_ones_end() {
    let served = Served::new(16, 128 * KIB);
    let [first, second] = [served.connect(&sends(64 * KIB)).await, served.connect(&sends(64 * KIB)).await];
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = served.ask(&(sends(5) + "12345")).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains(r#""code":"busy""#), "{refused}");
    assert!(served.ask(HONEST).await.ends_with("well"), "what has no body needs no room");
    // A minute later both are over, and their room is free.
    for slow in [first, second] {
        assert!(rest(slow).await.starts_with("HTTP/1.1 400"));
    }
    assert!(served.ask(&(sends(5) + "12345")).await.ends_with('5'));
    served.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_takes_nothing_gives_its_place_up() {
    let served = Served::new(1, KIB * KIB);
    let stuck = served.connect("GET /much HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(served.ask(HONEST).await.ends_with("well"));
    assert!(rest(stuck).await.len() < 64 << 20);
    served.end().await;
}
