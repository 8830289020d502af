//! Firewalls and address translators between two machines, by rules of `nft`. See `machines` for what is needed.

use std::thread::sleep;
use std::time::Duration;

use liaison_tests::net::{Firewall, Rule, Wire};

use crate::machines::{Ip, a_lone_agency, skip, two_regions, wire_with_firewalls};
use crate::shared::{LOADED, Mail};

/// Longer than it takes to notice a dead link; shorter; and as long as it may be without that.
const DEAD: Duration = Duration::from_secs(17);
const SHORT: Duration = Duration::from_secs(4);
const ALMOST: Duration = Duration::from_secs(12);

fn wall(wire: &Wire, end: usize, rule: Rule) -> Firewall<'_> {
    Firewall::new(wire, end, rule).unwrap()
}

/// Puts a rule in force at these ends for a while, with mail under way, and sees that the mail goes on afterwards.
fn mail_waits_behind(mail: &mut Mail<'_>, wire: &Wire, ends: &[usize], rule: Rule, span: Duration, name: &str) {
    let walls: Vec<_> = ends.iter().map(|end| wall(wire, *end, rule)).collect();
    let open = mail.send();
    sleep(span);
    mail.still_open(&open);
    assert!(walls.iter().all(|wall| wall.hits() > 0), "{name}: nothing came to the firewall");
    drop(walls);
    mail.recovers(&format!("after {} s in which {name}", span.as_secs()), &open, LOADED);
}

type Disturbance<'a> = &'a (dyn Fn(&mut Mail<'_>, &Wire) + Sync);

/// One federation for each disturbance, side by side: most of their time is spent waiting.
fn side_by_side(disturbances: &[(Ip, Disturbance<'_>)]) {
    let play = |ip, wire: &Wire, disturb: Disturbance<'_>| {
        let fed = two_regions(wire, ip);
        let mut mail = Mail::over(&fed);
        mail.send_and_wait();
        disturb(&mut mail, wire);
        mail.each_once();
    };
    std::thread::scope(|scope| {
        for (ip, disturb) in disturbances {
            let Some(wire) = wire_with_firewalls() else { return };
            scope.spawn(move || play(*ip, &wire, disturb));
        }
    });
}

#[test]
fn mail_between_relays_goes_on_after_a_firewall_has_dropped_it_silently() {
    let drop = Rule::DropArriving;
    side_by_side(&[
        (Ip::V4, &|mail, wire| {
            mail_waits_behind(mail, wire, &[1], drop, SHORT, "nothing passes from the sender's relay to the other");
            mail_waits_behind(mail, wire, &[0], drop, DEAD, "nothing passes from the recipient's relay to the other");
        }),
        (Ip::V4, &|mail, wire| {
            mail_waits_behind(mail, wire, &[0, 1], drop, ALMOST, "nothing passes between relays");
            mail_waits_behind(mail, wire, &[0, 1], drop, DEAD, "nothing passes between relays");
        }),
    ]);
}

#[test]
fn mail_between_relays_goes_on_after_a_firewall_has_refused_it_and_after_sending_was_forbidden() {
    let refused = |mail: &mut Mail<'_>, wire: &Wire| {
        let refuse = Rule::RejectArriving;
        mail_waits_behind(mail, wire, &[1], refuse, SHORT, "a firewall answers that the port is unreachable");
        let forbid = Rule::ForbidSending;
        mail_waits_behind(mail, wire, &[0], forbid, SHORT, "the sender's relay is not allowed to send");
    };
    side_by_side(&[(Ip::V4, &refused), (Ip::V6, &refused)]);
}

#[test]
fn mail_passes_a_path_that_swallows_large_packets_and_one_that_polices_their_rate() {
    let Some(wire) = wire_with_firewalls() else { return };
    let fed = two_regions(&wire, Ip::V4);
    let mut mail = Mail::over(&fed);
    // By now the link has found out that the path takes more.
    mail.send_and_wait();
    let large = mail.send_large(300_000);
    mail.recovers("over a path of 1,500 bytes, with an attachment of 300 kB", &large, LOADED);
    for (rule, name) in [
        (Rule::DropLarger { bytes: 1280 }, "while packets of more than 1,280 bytes are dropped"),
        (Rule::Police { per_second: 100 }, "while no more than 100 packets a second pass each way"),
    ] {
        let walls = [0, 1].map(|end| wall(&wire, end, rule));
        let open = mail.send_large(300_000);
        mail.recovers(&format!("{name}, with an attachment of 300 kB"), &open, 3 * LOADED);
        assert!(walls.iter().any(|wall| wall.hits() > 0), "{name}: nothing came to the firewall");
    }
    mail.each_once();
}

#[test]
fn mail_of_an_agency_goes_on_when_its_address_translator_takes_another_port() {
    let Some(wire) = wire_with_firewalls() else { return };
    let translate = |port| Firewall::new(&wire, 0, Rule::Translate { port });
    let mut translator = match translate(7001) {
        Ok(translator) => translator,
        // What the kernel says when it has no such tables.
        Err(why) if why.contains("No such file") || why.contains("not supported") => {
            return skip("addresses cannot be translated here", &why);
        }
        Err(why) => panic!("{why}"),
    };
    let fed = a_lone_agency(&wire);
    let mut mail = Mail::over(&fed);
    mail.send_and_wait();
    for port in [7002, 7003] {
        let counter = wall(&wire, 1, Rule::CountFrom { port });
        drop(translator);
        translator = translate(port).unwrap();
        // Else the kernel would go on to translate as it did.
        wire.blink();
        let open = mail.send();
        mail.recovers(&format!("after an agency's packets come from port {port}"), &open, LOADED);
        assert!(counter.hits() > 0, "nothing came from port {port}");
    }
    mail.each_once();
}
