//! Relays that stand still, and relays that never stay up.

use std::thread::sleep;
use std::time::{Duration, Instant};

use liaison_tests::fed::{Federation, Plan};

use crate::shared::{LOADED, Mail};

/// Longer than a silent link is kept.
const STANDSTILL: Duration = Duration::from_secs(17);
/// Shorter.
const SHORT: Duration = Duration::from_secs(3);
/// How long the relay lives before it is killed: now too short to come up, now long enough to take mail.
const LIVES_MS: [u64; 6] = [5, 40, 120, 400, 20, 250];

#[test]
fn a_relay_that_stood_still_for_longer_than_a_link_lives_goes_on_with_its_mail() {
    let fed = Federation::start(&Plan { agencies: 2, ..Plan::default() });
    let mut mail = Mail::over(&fed);
    mail.send_and_wait();
    // Long enough for the links to end, and not.
    for (relay, span) in [("eu-1", STANDSTILL), ("ap-1", SHORT)] {
        fed.pause(relay);
        let open = mail.send();
        sleep(span);
        mail.still_open(&open);
        fed.resume(relay);
        mail.recovers(&format!("after {relay} stood still for {span:?}"), &open, LOADED);
    }
    mail.each_once();
}

#[test]
fn mail_through_a_relay_that_is_killed_again_and_again_as_it_starts_arrives_once() {
    let fed = Federation::start(&Plan { agencies: 2, ..Plan::default() });
    let mut mail = Mail::over(&fed);
    mail.send_and_wait();
    fed.kill("eu-1");
    let kills = std::env::var("LIAISON_RESTART_KILLS").map_or(24, |text| text.parse().unwrap());
    let mut last = mail.send();
    for kill in 0..kills {
        fed.launch("eu-1");
        let began = Instant::now();
        if kill % 3 == 0 {
            last = mail.send();
        }
        let life = Duration::from_millis(LIVES_MS[kill % LIVES_MS.len()]);
        sleep(life.saturating_sub(began.elapsed()));
        fed.kill("eu-1");
    }
    fed.launch("eu-1");
    mail.recovers(&format!("after the start that {kills} kills came before"), &last, LOADED);
    mail.each_once();
}
