//! What the machine can do: the ratio to these is what a figure of the system means.

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Result;
use liaison_node::clock;
use liaison_protocol::FederationId;
use liaison_protocol::inner::{Content, ContentType, Message, Tlp};
use liaison_protocol::open::open;
use liaison_protocol::prekey::PrekeySecret;
use liaison_protocol::seal::{SealRequest, seal};
use liaison_protocol::sign::SigningKey;
use liaison_protocol::{AgencyId, NodeId, Precedence};

/// Each for about this long.
const RUN: Duration = Duration::from_secs(2);

/// What an envelope with one wrap and its transfer frame add to the text, about.
const FRAME_BYTES: usize = 2048;

/// All of them, a line each.
pub async fn all(text_bytes: usize) -> Result<Vec<String>> {
    let disk = tokio::task::spawn_blocking(move || -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for batch in [1, 64] {
            let rate = appended(text_bytes + 1024, batch)?;
            lines.push(format!("append and fdatasync, {batch:>3} records each   {rate:>8.0} records a second"));
        }
        lines.extend(cryptography(text_bytes)?);
        Ok(lines)
    });
    let mut lines = disk.await??;
    let rate = super::loopback::frames_per_second(text_bytes + FRAME_BYTES, RUN).await?;
    lines.push(format!("bare QUIC, the same frames, one stream  {rate:>8.0} frames a second"));
    Ok(lines)
}

fn appended(record: usize, batch: usize) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let mut file = File::create(folder.path().join("log"))?;
    let record = vec![7u8; record * batch];
    let (begin, mut written) = (Instant::now(), 0usize);
    while begin.elapsed() < RUN {
        file.write_all(&record)?;
        file.sync_data()?;
        written += batch;
    }
    Ok(per_second(written, begin))
}

/// One thread: seals, opens and verifications of the very envelope that the benchmark sends.
fn cryptography(text_bytes: usize) -> Result<Vec<String>> {
    let mut rng = rand_core::UnwrapErr(getrandom::SysRng);
    let (sender, recipient): (NodeId, AgencyId) = ("bench.sender".parse()?, "bench.recipient".parse()?);
    let (signer, prekey) = (SigningKey::generate(&mut rng), PrekeySecret::generate(&mut rng));
    let content = Content::Message(Message {
        thread: None,
        in_reply_to: None,
        chain: None,
        info: Vec::new(),
        subject: "bench".into(),
        tlp: Tlp::Green,
        handling: Vec::new(),
        content_type: ContentType::Text,
        text: "x".repeat(text_bytes),
        attachments: Vec::new(),
    });
    let recipients = [(recipient.clone(), prekey.public())];
    let created = clock::now();
    let request = SealRequest {
        federation: FederationId([7; 16]),
        sender: &sender,
        recipients: &recipients,
        created,
        expires: created.after(Duration::from_secs(3600)),
        precedence: Precedence::Routine,
        content: &content,
    };
    let mut lines = Vec::new();
    let (begin, mut done) = (Instant::now(), 0);
    while begin.elapsed() < RUN {
        seal(&request, &signer, &mut rng)?;
        done += 1;
    }
    lines.push(format!("seal and sign, one thread               {:>8.0} a second", per_second(done, begin)));
    let envelope = seal(&request, &signer, &mut rng)?.envelope;
    let (begin, mut done) = (Instant::now(), 0);
    while begin.elapsed() < RUN {
        open(&envelope, &recipient, &prekey)?;
        done += 1;
    }
    lines.push(format!("open, one thread                        {:>8.0} a second", per_second(done, begin)));
    let (key, message) = (signer.verifying_key(), envelope.id().0.0);
    let signature = liaison_protocol::sign::Signer::sign(&signer, &message)?;
    let (begin, mut done) = (Instant::now(), 0);
    while begin.elapsed() < RUN {
        key.verify(&message, &signature)?;
        done += 1;
    }
    lines.push(format!("verify a signature, one thread          {:>8.0} a second", per_second(done, begin)));
    Ok(lines)
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
fn per_second(done: usize, begin: Instant) -> f64 {
    done as f64 / begin.elapsed().as_secs_f64()
}
