//! What the system does on this machine, beside what the machine itself can do, from one run.
//!
//! ```text
//! cargo run --release -p liaison-tests --bin bench                      messages a second and latency
//! cargo run --release -p liaison-tests --bin bench -- queued [MESSAGES]  memory with 100,000 messages queued
//! cargo run --release -p liaison-tests --bin bench -- outage [SECONDS]   recovery after a relay was away for 60 s, and what a
//!                                                        failed home relay costs
//! cargo run --release -p liaison-tests --bin bench -- ways               only the latter
//! ```

#![expect(clippy::print_stdout, reason = "a command line tool")]

use std::time::Duration;

use anyhow::{Result, bail};
use liaison_tests::bench::{Line, Load, Sealing, outage, pipeline, queued, ways, yardsticks};

/// Bytes of text in each message: the envelope is about 2 KiB more.
const TEXT_BYTES: usize = 2048;
const RUN: Duration = Duration::from_secs(5);

/// Sent into an outage.
const INTO_OUTAGE: usize = 1_000;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => throughput().await,
        ["queued"] => hold(100_000).await,
        ["queued", messages] => hold(messages.parse()?).await,
        ["outage"] => dark(60).await,
        ["outage", seconds] => dark(seconds.parse()?).await,
        ["ways"] => lost_homes().await,
        _ => bail!("usage: bench [queued [MESSAGES] | outage [SECONDS] | ways]"),
    }
}

async fn hold(messages: usize) -> Result<()> {
    let line = Line::start(TEXT_BYTES).await?;
    println!("{}", queued(&line, messages).await?);
    line.stop().await
}

async fn dark(seconds: u64) -> Result<()> {
    let mut line = Line::start(TEXT_BYTES).await?;
    println!("{}", outage(&mut line, Duration::from_secs(seconds), INTO_OUTAGE).await?);
    line.stop().await?;
    lost_homes().await
}

async fn lost_homes() -> Result<()> {
    println!("a first home relay is lost: until a flash message is delivered");
    tokio::task::spawn_blocking(ways).await??.iter().for_each(|line| println!("  {line}"));
    Ok(())
}

async fn throughput() -> Result<()> {
    println!("yardsticks of this machine");
    yardsticks::all(TEXT_BYTES).await?.iter().for_each(|line| println!("  {line}"));
    let line = Line::start(TEXT_BYTES).await?;
    println!("two relays, durable at every hop, {TEXT_BYTES} bytes of text");
    for (sealing, word) in
        [(Sealing::Before, "sealed before the run"), (Sealing::During, "sealed, signed, opened in it")]
    {
        for in_flight in [1, 16, 64] {
            let load = Load { sealing, in_flight, per_second: None, run: RUN };
            println!("  {word:<30} {in_flight:>3} in flight   {}", pipeline(&line, load).await?);
        }
    }
    let load = Load { sealing: Sealing::During, in_flight: 64, per_second: Some(20), run: RUN };
    println!("  at 20 a second                 {:>24}", pipeline(&line, load).await?);
    line.stop().await
}
