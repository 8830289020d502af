//! Two regions as two machines: network namespaces with a wire between them.
//!
//! Needs the right to make them (root) and `ip`. Where either is missing this says so and skips; with
//! `LIAISON_REQUIRE_NAMESPACES` set it fails instead.

use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use liaison_tests::fed::{Federation, Plan};

/// Two namespaces with a wire between them; gone when dropped.
struct Wire {
    names: [String; 2],
}

/// Addresses of its ends, and a second one for the first.
const ENDS: [&str; 2] = ["10.213.7.1", "10.213.7.2"];
const MOVED: &str = "10.213.7.3";
const WIRE: &str = "wire";

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

impl Wire {
    fn new() -> Result<Self, String> {
        let wire = Self { names: ["a", "b"].map(|end| format!("liaison-{}-{end}", std::process::id())) };
        for name in &wire.names {
            ip(&["netns", "add", name])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
        }
        let [one, other] = &wire.names;
        ip(&["-n", one, "link", "add", WIRE, "type", "veth", "peer", "name", WIRE, "netns", other])?;
        for (name, address) in wire.names.iter().zip(ENDS) {
            ip(&["-n", name, "address", "add", &format!("{address}/24"), "dev", WIRE])?;
            ip(&["-n", name, "link", "set", WIRE, "up"])?;
        }
        Ok(wire)
    }

    /// At the first end.
    fn at_one(&self, arguments: &[&str]) {
        ip(&[&["-n", &self.names[0]], arguments].concat()).unwrap();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for name in &self.names {
            // It may not have come so far.
            let _ = ip(&["netns", "delete", name]);
        }
    }
}

#[test]
fn mail_goes_on_after_a_wire_is_pulled_and_after_a_machine_changes_its_address() {
    let wire = match Wire::new() {
        Ok(wire) => wire,
        Err(why) => {
            assert!(std::env::var_os("LIAISON_REQUIRE_NAMESPACES").is_none(), "{why}");
            // Past the test runner, which keeps what passing tests print.
            writeln!(std::io::stderr(), "skipped: network namespaces cannot be made here ({why})").unwrap();
            return;
        }
    };
    let fed = Federation::make(&Plan { agencies: 2, ..Plan::default() });
    for (index, (relay, agency)) in [("ap-1", "ncb.sg"), ("eu-1", "ncb.ee")].into_iter().enumerate() {
        [relay, agency].iter().for_each(|node| fed.set_namespace(node, &wire.names[index]));
        fed.listen_everywhere(relay);
    }
    let end =
        |index: usize, relay: &str| format!("{}:{}", ENDS[index], fed.quic_address(relay).port()).parse().unwrap();
    fed.redirect("ap-1", "eu-1", end(1, "eu-1"));
    fed.redirect("eu-1", "ap-1", end(0, "ap-1"));
    fed.start_all();
    let send = |subject: &str| fed.send("ncb.sg", "ncb.ee", &["-s", subject, "--body", "x"]);
    let mut sent = vec![send("whole")];
    fed.await_delivered("ncb.sg", &sent[0]);

    wire.at_one(&["link", "set", WIRE, "down"]);
    sent.push(send("pulled"));
    // Longer than it takes to notice a dead link.
    std::thread::sleep(Duration::from_secs(17));
    assert_ne!(fed.trace("ncb.sg", &sent[1])["state"], "delivered", "the wire is not pulled");
    wire.at_one(&["link", "set", WIRE, "up"]);
    let back = Instant::now();
    fed.await_delivered("ncb.sg", &sent[1]);
    eprintln!("delivered and receipted {:?} after the wire was back", back.elapsed());
    assert!(back.elapsed() < Duration::from_secs(10), "{:?}", back.elapsed());

    // In this order: with an address goes whatever was added after it.
    wire.at_one(&["address", "delete", &format!("{}/24", ENDS[0]), "dev", WIRE]);
    wire.at_one(&["address", "add", &format!("{MOVED}/24"), "dev", WIRE]);
    let moved = Instant::now();
    sent.push(send("moved"));
    fed.await_delivered("ncb.sg", &sent[2]);
    eprintln!("delivered and receipted {:?} after the address changed", moved.elapsed());

    let inbox = fed.inbox("ncb.ee");
    let arrived: Vec<&str> = inbox.iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(arrived, sent, "each once");
}
