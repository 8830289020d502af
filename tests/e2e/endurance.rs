//! An attachment on its way while every process dies under it.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::time::Duration;

use liaison_tests::fed::{Federation, Plan, eventually, eventually_within};

use crate::shared::{Dice, setting};

/// Bytes of one block of the file.
const BLOCK: usize = 1 << 16;

fn write_noise(path: &Path, bytes: u64) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let mut dice = Dice::new(77);
    for _ in 0..bytes / BLOCK as u64 {
        let block: Vec<u8> = std::iter::repeat_with(|| dice.next().to_le_bytes()).flatten().take(BLOCK).collect();
        file.write_all(&block).unwrap();
    }
    file.flush().unwrap();
}

fn same(one: &Path, other: &Path) -> bool {
    let open = |path| BufReader::with_capacity(BLOCK, File::open(path).unwrap());
    let (mut one, mut other) = (open(one), open(other));
    let (mut left, mut right) = (vec![0; BLOCK], vec![0; BLOCK]);
    loop {
        let bytes = one.read(&mut left).unwrap();
        if bytes == 0 {
            return other.read(&mut right).unwrap() == 0;
        }
        if other.read_exact(&mut right[..bytes]).is_err() || left[..bytes] != right[..bytes] {
            return false;
        }
    }
}

/// Until the relay holds a few chunks, kill it, and start it again.
fn kill_with_chunks(fed: &Federation, relay: &str) {
    eventually(&format!("chunks at {relay}"), || {
        let queues = fed.relay(relay, &["--json", "queues"]).success().objects();
        queues.iter().any(|queue| queue["entries"].as_u64() > Some(4)).then_some(())
    });
    fed.kill(relay);
    fed.start_node(relay);
}

/// `LIAISON_E2E_ATTACHMENT_MIB=1024` for the largest that is promised; it needs about ten times that on disk.
#[test]
fn an_attachment_survives_the_death_of_every_process_that_holds_it() {
    let mib = setting("LIAISON_E2E_ATTACHMENT_MIB", 4);
    let patience = Duration::from_secs(60 + mib * 2);
    let fed = Federation::start(&Plan { agencies: 2, ..Plan::default() });
    let file = fed.scratch().join("noise.bin");
    write_noise(&file, mib << 20);
    // Each holder's next one is away, so that it holds the chunks when it dies.
    fed.kill("ap-1");
    fed.kill("eu-1");
    fed.kill("ncb.ee");
    let say = |agency: &str, arguments: &[&str]| fed.liaison_within(patience, agency, arguments).success().objects();
    let letter = ["--to", "ncb.ee", "--tlp", "green", "-s", "Noise", "--body", "Attached"];
    let attached = ["--json", "send", "--yes", "-a", file.to_str().unwrap()];
    let sent = say("ncb.sg", &[attached.as_slice(), &letter].concat());
    let id = sent[0]["id"].as_str().unwrap().to_owned();
    fed.kill("ncb.sg");
    fed.start_node("ncb.sg");
    fed.start_node("ap-1");
    kill_with_chunks(&fed, "ap-1");
    fed.start_node("eu-1");
    kill_with_chunks(&fed, "eu-1");
    fed.start_node("ncb.ee");
    // The text is there before the file is, or with it.
    eventually("the text", || fed.inbox("ncb.ee").iter().any(|item| item["id"] == id.as_str()).then_some(()));
    fed.kill("ncb.ee");
    fed.start_node("ncb.ee");
    eventually_within(patience, "the delivery receipt", || {
        (fed.trace("ncb.sg", &id)["state"] == "delivered").then_some(())
    });
    let folder = fed.scratch().join("saved");
    std::fs::create_dir(&folder).unwrap();
    let saved = say("ncb.ee", &["--json", "save", &id, "-o", folder.to_str().unwrap()]);
    assert_eq!((saved.len(), &saved[0]["bytes"]), (1, &(mib << 20).into()), "{saved:?}");
    assert!(same(&file, Path::new(saved[0]["path"].as_str().unwrap())), "the saved file differs");
    assert_eq!(fed.inbox("ncb.ee").len(), 1);
}
