//! Two machines: network namespaces with a wire between them.

use std::thread::sleep;
use std::time::Duration;

use crate::machines::{Ip, a_lone_agency, two_regions, wire};
use crate::shared::{LOADED, Mail};

/// Longer than it takes to notice a dead link.
const DEAD: Duration = Duration::from_secs(17);
/// Shorter.
const SHORT: Duration = Duration::from_secs(4);

#[test]
fn mail_goes_on_after_a_wire_is_pulled_and_after_a_machine_changes_its_address() {
    let Some(wire) = wire() else { return };
    let fed = two_regions(&wire, Ip::V4);
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
    // The link's other end closes it; or, if that one dialed it, we notice that it is deaf, and dial in turn.
    mail.recovers("after a relay's machine has changed its address", &moved, LOADED);
    mail.each_once();
}

#[test]
fn mail_goes_on_after_one_way_of_an_agencys_wire_was_lost_and_after_its_machine_changes_its_address() {
    let Some(wire) = wire() else { return };
    let fed = a_lone_agency(&wire);
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
    mail.recovers("after an agency's machine has changed its address", &moved, LOADED);
    mail.each_once();
}
