//! What the system does on this machine, beside what the machine itself can do, from one run.
//!
//! `cargo run --release -p liaison-tests --bin bench`

#![expect(clippy::print_stdout, reason = "a command line tool")]

use std::time::Duration;

use anyhow::Result;
use liaison_tests::bench::{Line, Load, Sealing, pipeline, yardsticks};

/// Bytes of text in each message: the envelope is about 2 KiB more.
const TEXT_BYTES: usize = 2048;
const RUN: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<()> {
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
