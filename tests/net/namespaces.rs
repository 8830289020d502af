//! Two machines: network namespaces with a wire between them.
//!
//! Needs the right to make them (root) and `ip`. Where either is missing each test says so and skips; with
//! `LIAISON_REQUIRE_NAMESPACES` set it fails instead.

use std::io::Write as _;
use std::thread::sleep;
use std::time::Duration;

use liaison_tests::fed::{Federation, Plan};
use liaison_tests::net::{ENDS, Wire};

use crate::shared::{LOADED, Mail};

/// Longer than it takes to notice a dead link.
const DEAD: Duration = Duration::from_secs(17);
/// Shorter.
const SHORT: Duration = Duration::from_secs(4);

fn wire() -> Option<Wire> {
    match Wire::new() {
        Ok(wire) => Some(wire),
        Err(why) => {
            assert!(std::env::var_os("LIAISON_REQUIRE_NAMESPACES").is_none(), "{why}");
            // Past the test runner, which keeps what passing tests print.
            let mut terminal = std::io::stderr();
            writeln!(terminal, "skipped: network namespaces cannot be made here ({why})").unwrap();
            None
        }
    }
}

/// Where `relay` is found at this end of the wire.
fn at(fed: &Federation, end: usize, relay: &str) -> std::net::SocketAddr {
    (ENDS[end], fed.quic_address(relay).port()).into()
}

#[test]
fn mail_goes_on_after_a_wire_is_pulled_and_after_a_machine_changes_its_address() {
    let Some(wire) = wire() else { return };
    let fed = Federation::make(&Plan { agencies: 2, ..Plan::default() });
    for (machine, [relay, agency]) in wire.machines().iter().zip([["ap-1", "ncb.sg"], ["eu-1", "ncb.ee"]]) {
        [relay, agency].iter().for_each(|node| fed.set_namespace(node, machine));
        fed.listen_everywhere(relay);
    }
    fed.redirect("ap-1", "eu-1", at(&fed, 1, "eu-1"));
    fed.redirect("eu-1", "ap-1", at(&fed, 0, "ap-1"));
    fed.start_all();
    let mut mail = Mail::over(&fed);
    mail.send_and_wait();

    wire.pull();
    let pulled = mail.send();
    sleep(DEAD);
    mail.still_open(&pulled);
    wire.put_back();
    mail.recovers("after a wire between relays is put back", &pulled, LOADED);

    wire.move_first();
    let moved = mail.send();
    // The link's other end closes it, or it is noticed to be dead.
    mail.recovers("after a relay's machine has changed its address", &moved, DEAD + LOADED);
    mail.each_once();
}

#[test]
fn mail_goes_on_after_one_way_of_an_agencys_wire_was_lost_and_after_its_machine_changes_its_address() {
    let Some(wire) = wire() else { return };
    let fed = Federation::make(&Plan { agencies: 2, ..Plan::default() });
    fed.set_namespace("ncb.sg", &wire.machines()[0]);
    ["ap-1", "eu-1", "ncb.ee"].iter().for_each(|node| fed.set_namespace(node, &wire.machines()[1]));
    fed.listen_everywhere("ap-1");
    fed.redirect_home("ncb.sg", "ap-1", at(&fed, 1, "ap-1"));
    fed.start_all();
    let mut mail = Mail::over(&fed);
    mail.send_and_wait();

    for (end, span, name) in [
        (0, SHORT, "4 s in which the agency hears and is not heard"),
        (1, SHORT, "4 s in which the agency is heard and hears nothing"),
        (0, DEAD, "17 s in which the agency hears and is not heard"),
    ] {
        wire.mute(end);
        let open = mail.send();
        sleep(span);
        mail.still_open(&open);
        wire.unmute(end);
        mail.recovers(&format!("after {name}"), &open, LOADED);
    }

    wire.move_first();
    let moved = mail.send();
    mail.recovers("after an agency's machine has changed its address", &moved, DEAD + LOADED);
    mail.each_once();
}
