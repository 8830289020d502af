//! What a failed home relay costs: seconds until a flash message is delivered by the other one, for each way of losing the
//! first. Real programs, with the delays that they have without configuration.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::fed::{Federation, Plan, eventually};

/// The longest wait for a message.
const PATIENCE: Duration = Duration::from_secs(120);
/// Nobody listens there.
const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);

/// One way of losing a relay.
struct Loss {
    name: &'static str,
    /// Before anything is started.
    prepare: fn(&Federation),
    /// Before the message is sent.
    before: fn(&Federation),
    /// Once it is sent.
    after: fn(&Federation, &str),
}

const NOTHING: fn(&Federation) = |_| {};
const NOTHING_MORE: fn(&Federation, &str) = |_, _| {};

/// `ncb.sg` is at home at `ap-1` and `ap-2`, `ncb.ee` at `eu-1` and `eu-2`.
const LOSSES: [Loss; 9] = [
    Loss { name: "none", prepare: NOTHING, before: NOTHING, after: NOTHING_MORE },
    Loss { name: "the sender's, killed before", prepare: NOTHING, before: |fed| fed.kill("ap-1"), after: NOTHING_MORE },
    Loss {
        name: "the recipient's, killed before",
        prepare: NOTHING,
        before: |fed| fed.kill("eu-1"),
        after: NOTHING_MORE,
    },
    Loss { name: "the sender's, draining", prepare: NOTHING, before: |fed| drain(fed, "ap-1"), after: NOTHING_MORE },
    Loss { name: "the recipient's, draining", prepare: NOTHING, before: |fed| drain(fed, "eu-1"), after: NOTHING_MORE },
    Loss {
        name: "the sender's, disk low",
        prepare: |fed| replace(fed, "ap-1", "low_water = \"256MiB\"", "low_water = \"100TiB\""),
        before: NOTHING,
        after: NOTHING_MORE,
    },
    Loss {
        name: "the sender's, quota used up",
        prepare: |fed| fed.configure("ap-1", "\n[limits]\nper_agency_rate = \"1/s\"\n"),
        before: use_up,
        after: NOTHING_MORE,
    },
    Loss {
        name: "the recipient's, killed with the message in it",
        prepare: NOTHING,
        before: |fed| assert_eq!(fed.stop("ncb.ee"), Some(0)),
        after: |fed, id| {
            held(fed, id, "eu-1");
            fed.kill("eu-1");
            fed.start_node("ncb.ee");
        },
    },
    Loss {
        name: "the recipient's, keeps the message back",
        prepare: |fed| fed.redirect_home("ncb.ee", "eu-1", NOWHERE.into()),
        before: NOTHING,
        after: NOTHING_MORE,
    },
];

fn drain(fed: &Federation, relay: &str) {
    let _drained = fed.relay(relay, &["drain"]).success();
}

/// The burst that a rate of one a second allows.
fn use_up(fed: &Federation) {
    for _ in 0..10 {
        let _sent = fed.send("ncb.sg", "ncb.sg", &["-s", "To myself", "--body", "x"]);
    }
}

fn held(fed: &Federation, id: &str, holder: &str) {
    eventually(&format!("custody of {holder}"), || {
        (fed.trace("ncb.sg", id)["recipients"][0]["holder"] == holder).then_some(())
    });
}

fn replace(fed: &Federation, relay: &str, old: &str, new: &str) {
    let config = fed.files().relay_config(&relay.parse().expect("a relay's name"));
    let text = std::fs::read_to_string(&config).expect("a configuration");
    assert!(text.contains(old), "{text}");
    std::fs::write(&config, text.replace(old, new)).expect("a configuration");
}

/// One line for each way of losing a relay.
///
/// # Errors
/// A message does not arrive.
pub fn ways() -> Result<Vec<String>> {
    LOSSES.iter().map(|loss| Ok(format!("{:<50} {:>6.2} s", loss.name, measure(loss)?.as_secs_f64()))).collect()
}

fn measure(loss: &Loss) -> Result<Duration> {
    let fed = Federation::make(&Plan { relays_per_region: 2, agencies: 2, ..Plan::default() });
    (loss.prepare)(&fed);
    fed.start_all();
    (loss.before)(&fed);
    let began = Instant::now();
    let id = fed.send("ncb.sg", "ncb.ee", &["-s", "Flash", "--body", "x", "--precedence", "flash"]);
    (loss.after)(&fed, &id);
    loop {
        let inbox = fed.get("ncb.ee", "/v1/inbox?order=newest").ok();
        let items = inbox.as_ref().and_then(|inbox| inbox["items"].as_array());
        if items.is_some_and(|items| items.iter().any(|item| item["id"] == id)) {
            return Ok(began.elapsed());
        }
        ensure!(began.elapsed() < PATIENCE, "{}: not there after {PATIENCE:?}", loss.name);
        std::thread::sleep(Duration::from_millis(5));
    }
}
