//! Bugs that the simulator has found, each as a small plan that shows it, and others that few seeds come upon.

use liaison_protocol::Precedence;

mod homes;
mod hostile;

pub use homes::{
    at_the_home_that_its_recipient_is_not_linked_to, refused_by_the_first_home, taken_by_a_home_that_is_gone_then,
};
pub use hostile::{chunks_signed_by_an_accomplice, prekeys_of_a_thief, stores_that_are_put_back};

use super::plan::{Fault, FaultKind, Mail, Pace, Place, Plan, Shape, Trick};

/// Every plan of this file, by what it shows.
#[must_use]
pub fn scenarios() -> Vec<(&'static str, Plan)> {
    vec![
        ("sent again to two", sent_again_to_two()),
        ("refused with a full disk", refused_with_a_full_disk()),
        ("withdrawn with a full disk", withdrawn_with_a_full_disk()),
        ("refused twice", refused_twice()),
        ("lost by a relay that had just taken it", lost_by_a_relay_that_had_just_taken_it()),
        ("two copies that meet", two_copies_that_meet()),
        ("two copies that meet on slow disks", two_copies_that_meet_on_slow_disks(139, 1_000, (23_741, 39_331))),
        ("two copies that cross on slow disks", two_copies_that_meet_on_slow_disks(51, 303, (22_869, 23_179))),
        ("more than fits, again and again", more_than_fits()),
        ("sent again by the other home relay", sent_again_by_the_other_home_relay()),
        ("copies of what is not yet synced", copies_of_what_is_not_yet_synced()),
        ("recipients that do not exist", recipients_that_do_not_exist()),
        ("one recipient without room", one_recipient_without_room()),
        ("lost behind whole daemons", Plan { office: true, ..sent_again_to_two() }),
        ("asked again after a crash", asked_again_after_a_crash()),
        ("a notice before clocks that were set back", a_notice_before_clocks_that_were_set_back()),
        ("a message to oneself whose receipt is lost", a_message_to_oneself_whose_receipt_is_lost()),
        ("chunks lost behind their message", chunks_lost_behind_their_message(2, 1_052)),
        ("chunks lost far behind their message", chunks_lost_behind_their_message(4, 1_010)),
        ("keys lost before the mail for them", keys_lost_before_the_mail_for_them()),
        ("a notice for a key that is lost", a_notice_for_a_key_that_is_lost()),
        ("taken by a home that is gone then", taken_by_a_home_that_is_gone_then()),
        ("at the home that its recipient is not linked to", at_the_home_that_its_recipient_is_not_linked_to()),
        ("refused by a home that drains", refused_by_the_first_home(FaultKind::Drain)),
        ("refused by a home with a low disk", refused_by_the_first_home(FaultKind::Low)),
        (
            "refused by a home whose clock is slow",
            refused_by_the_first_home(|relay| FaultKind::ClockJump(relay, -360_000)),
        ),
        ("chunks signed by an accomplice", chunks_signed_by_an_accomplice()),
        ("prekeys of a thief", prekeys_of_a_thief()),
        ("stores that are put back", stores_that_are_put_back()),
    ]
}

/// Both recipients are absent when the relay loses its disk, and their copies wait together at the sender. Seed 231: the
/// second copy's wrap replaced the first one's in the sender's store, and the first recipient's was refused for good.
#[must_use]
pub fn sent_again_to_two() -> Plan {
    let (relay, sender) = (Place::Relay(0), Place::Agency(0));
    plan(vec![
        fault(500, 60_000, FaultKind::Cut(relay, Place::Agency(1))),
        fault(500, 60_000, FaultKind::Cut(relay, Place::Agency(2))),
        fault(5_000, 1_000, FaultKind::DiskLost(relay)),
        // They wait for the link, and for each other, when they are sent again.
        fault(90_000, 30 * 3_600_000, FaultKind::Cut(relay, sender)),
    ])
}

/// The sender's disk is full when it learns that there is no agreement. Seed 1493: it told its agency at the message's
/// expiry, days later.
#[must_use]
pub fn refused_with_a_full_disk() -> Plan {
    let mut plan = plan(vec![fault(1_010, 300, FaultKind::Full(Place::Agency(0), 100))]);
    plan.shape.strict = true;
    // Agency 0 has no agreement with itself.
    plan.mail[0].to = vec![0];
    plan
}

/// A message is withdrawn, and the disk has no room for that. Seed 13: it was neither withdrawn nor sent on.
#[must_use]
pub fn withdrawn_with_a_full_disk() -> Plan {
    let cut = FaultKind::Cut(Place::Relay(0), Place::Agency(0));
    let full = FaultKind::Full(Place::Agency(0), 100);
    let mut plan = plan(vec![fault(500, 20_000, cut), fault(1_500, 2_000, full)]);
    plan.mail[0].cancel_after_ms = Some(1_000);
    plan
}

/// A sender crashes before it hears that its first home relay has its message, and gives it to the second one, too. The
/// second passes it to the first, which has it; then the first's link is cut, and it passes its own to the second. Seed
/// 76688: that one said that it had passed it on before, the first let go of it, and nobody had it any more until the
/// sender sent it again a day later.
#[must_use]
pub fn two_copies_that_meet() -> Plan {
    let mut plan = plan(vec![
        fault(22_132, 11_032, FaultKind::Cut(Place::Relay(0), Place::Agency(3))),
        fault(23_895, 39_242, FaultKind::Cut(Place::Relay(1), Place::Relay(0))),
        fault(33_088, 3_478, FaultKind::Crash(Place::Agency(3))),
    ]);
    (plan.seed, plan.pace) = (76_688, Pace { delay_ms_max: 303, commit_ms_max: 14, text_bytes: 20 });
    plan.shape = Shape { regions: 3, second: 1, agencies: 5, meshed: false, ..plan.shape };
    let first = Mail { lifetime_s: 351_656, precedence: Precedence::Immediate, ..plan.mail[0].clone() };
    plan.mail = vec![
        Mail { at_ms: 22_813, from: 3, to: vec![1, 2], ..first.clone() },
        Mail {
            at_ms: 19_489,
            from: 2,
            to: vec![2],
            precedence: Precedence::Flash,
            lifetime_s: 490_101,
            ..first.clone()
        },
        Mail { at_ms: 12_115, from: 4, to: vec![1], precedence: Precedence::Flash, lifetime_s: 108_280, ..first },
    ];
    plan
}

/// A recipient is away while its relay loses its disk, with a message that another relay has handed over.
#[must_use]
pub fn lost_by_a_relay_that_had_just_taken_it() -> Plan {
    let mut plan = plan(vec![
        fault(500, 3_600_000, FaultKind::Crash(Place::Agency(2))),
        fault(60_000, 5_000, FaultKind::DiskLost(Place::Relay(2))),
    ]);
    plan.shape = Shape { regions: 3, agencies: 3, ..plan.shape };
    plan.mail[0].to = vec![2];
    plan
}

/// The same with commits of up to four seconds: a copy comes while the other one is in flight, or is being released.
#[must_use]
pub fn two_copies_that_meet_on_slow_disks(seed: u64, delay_ms_max: u64, (at_ms, for_ms): (u64, u64)) -> Plan {
    let mut plan = Plan { seed, ..two_copies_that_meet() };
    plan.pace = Pace { delay_ms_max, commit_ms_max: 4_000, ..plan.pace };
    if let Some(cut) = plan.faults.get_mut(1) {
        (cut.at_ms, cut.for_ms) = (at_ms, for_ms);
    }
    plan
}

/// Far more than a relay may hold for one agency, of every precedence, while its sender is away for a moment. Seed 52802:
/// what was in flight came back refused one by one, each counted as one more failure, and every round ended in the
/// longest wait.
#[must_use]
pub fn more_than_fits() -> Plan {
    let mut plan = plan(vec![fault(21_000, 7_000, FaultKind::Crash(Place::Agency(1)))]);
    plan.shape = Shape { regions: 3, agencies: 3, quota_bytes: Some(15_752), ..plan.shape };
    plan.pace = Pace { delay_ms_max: 290, commit_ms_max: 36, text_bytes: 4_000 };
    let precedences = [Precedence::Flash, Precedence::Immediate, Precedence::Priority, Precedence::Routine];
    let mail = |number: u64, precedence: Precedence| Mail {
        at_ms: 40 + 170 * number,
        from: 1,
        to: vec![0],
        precedence,
        ..plan.mail[0].clone()
    };
    plan.mail = (0..200).zip(precedences.into_iter().cycle()).map(|(number, urgent)| mail(number, urgent)).collect();
    plan
}

/// The sender's first home relay loses its disk while the recipient's takes nothing, so that the message is sent again,
/// by the second one, an hour later and with nothing else going on. Seed 32353: it left only at its expiry.
#[must_use]
pub fn sent_again_by_the_other_home_relay() -> Plan {
    let (first, second) = (Place::Relay(0), Place::Relay(2));
    let mut plan = plan(vec![
        fault(21_019, 67_255, FaultKind::Low(Place::Relay(1))),
        fault(23_689, 50_016, FaultKind::Cut(first, second)),
        fault(68_202, 1_009, FaultKind::DiskLost(first)),
        fault(79_492, 22_831, FaultKind::DiskLost(first)),
    ]);
    (plan.seed, plan.pace) = (32_353, Pace { delay_ms_max: 210, commit_ms_max: 2, text_bytes: 20 });
    plan.shape = Shape { regions: 2, second: 1, agencies: 2, ..plan.shape };
    let mail = Mail { at_ms: 46_373, to: vec![1], lifetime_s: 209_129, ..plan.mail[0].clone() };
    let other = Mail { at_ms: 75_471, from: 1, precedence: Precedence::Flash, lifetime_s: 541_589, ..mail.clone() };
    plan.mail = vec![other, mail];
    plan
}

/// A flood is refused message by message, with a time for each. Seed 5029: a later and shorter time ended the earlier
/// one's wait.
#[must_use]
pub fn refused_twice() -> Plan {
    let mut plan = plan(Vec::new());
    plan.shape.rate = Some(1);
    let first = plan.mail[0].clone();
    plan.mail = (0..40).map(|number| Mail { at_ms: 1_000 + 37 * number, to: vec![1], ..first.clone() }).collect();
    plan
}

/// Every frame comes twice, and commits take longer than the second one.
#[must_use]
pub fn copies_of_what_is_not_yet_synced() -> Plan {
    let frames = FaultKind::Frames { lost: 0, repeated: 1_000, overtaken: 0 };
    let slow = [Place::Relay(0), Place::Agency(1), Place::Agency(2)].map(|place| FaultKind::Slow(place, 20_000));
    let mut faults = vec![fault(900, 60_000, frames)];
    faults.extend(slow.map(|slow| fault(900, 60_000, slow)));
    let mut plan = plan(faults);
    let first = plan.mail[0].clone();
    plan.mail.extend((1..12).map(|number| Mail { at_ms: 1_000 + 900 * number, ..first.clone() }));
    plan
}

/// A relay sends on what is for a recipient that the header does not name.
#[must_use]
pub fn recipients_that_do_not_exist() -> Plan {
    let mut plan = plan(vec![fault(500, 60_000, FaultKind::Trick(Place::Relay(0), Trick::Branch, 100))]);
    plan.shape.regions = 2;
    plan
}

/// One recipient's disk is low for a minute; mail for the other one goes on.
#[must_use]
pub fn one_recipient_without_room() -> Plan {
    let mut plan = plan(vec![fault(500, 60_000, FaultKind::Low(Place::Agency(1)))]);
    let first = plan.mail[0].clone();
    plan.mail = vec![Mail { to: vec![1], ..first.clone() }];
    plan.mail.extend((1..20).map(|number| Mail { at_ms: 2_000 * number, to: vec![2], ..first.clone() }));
    plan
}

/// A daemon crashes again and again while its slow disk takes messages in: its application does not know which of them
/// are there, and submits them again under their keys.
#[must_use]
pub fn asked_again_after_a_crash() -> Plan {
    let sender = Place::Agency(0);
    let mut faults = vec![fault(900, 60_000, FaultKind::Slow(sender, 4_000))];
    faults.extend((0..8).map(|number| fault(2_000 + 7_000 * number, 100, FaultKind::Crash(sender))));
    let mut plan = Plan { office: true, ..plan(faults) };
    let first = plan.mail[0].clone();
    plan.mail = (0..24).map(|number| Mail { at_ms: 1_000 + 2_300 * number, ..first.clone() }).collect();
    plan
}

/// The last relay's clock is set back, and it refuses a message; then the first one's is, and it refused the notice of
/// that, for good. Seed 3000806: the sender learned of it when the message expired, days later.
#[must_use]
pub fn a_notice_before_clocks_that_were_set_back() -> Plan {
    let (first, second, last) = (Place::Relay(0), Place::Relay(1), Place::Relay(2));
    let mut plan = plan(vec![
        fault(2, 3_600_000, FaultKind::Cut(first, Place::Relay(3))),
        fault(500, 600_000, FaultKind::ClockJump(last, -2_000_000)),
        fault(900, 600_000, FaultKind::Slow(second, 5_000)),
        fault(1_300, 600_000, FaultKind::ClockJump(first, -2_000_000)),
    ]);
    plan.shape = Shape { regions: 4, agencies: 4, meshed: false, ..plan.shape };
    plan.mail[0].to = vec![2];
    plan
}

/// An agency writes to itself, and the receipt is lost with what its relay knew before a backup was restored, which is
/// that the message was there. Seed 10000416: the relay did not ask the agency what the agency asked, and what had
/// arrived was given up at its expiry.
#[must_use]
pub fn a_message_to_oneself_whose_receipt_is_lost() -> Plan {
    use Precedence::{Immediate, Priority, Routine};
    let (relay, agency) = (Place::Relay(0), Place::Agency(0));
    let mut plan = plan(vec![
        fault(939, 4_456, FaultKind::Flap(agency, relay)),
        fault(1_009, 3_159, FaultKind::Restored(relay)),
        fault(2_669, 3_790, FaultKind::Flap(agency, relay)),
    ]);
    (plan.seed, plan.pace) = (10_000_416, Pace { delay_ms_max: 294, commit_ms_max: 43, text_bytes: 20 });
    plan.shape.agencies = 2;
    let mail = [
        (196, 0, vec![1], Routine, 195_212),
        (2_807, 1, vec![0], Immediate, 375_780),
        (2_031, 1, vec![1], Priority, 589_282),
        (1_505, 1, vec![0], Routine, 202_053),
        (777, 0, vec![0], Immediate, 326_465),
        (2_297, 1, vec![0, 1], Priority, 571_820),
        (450, 1, vec![0], Priority, 183_390),
        (1_467, 0, vec![1], Routine, 49_639),
        (1_649, 0, vec![1], Immediate, 16_947),
    ];
    plan.mail = mail
        .into_iter()
        .map(|(at_ms, from, to, precedence, lifetime_s)| Mail {
            at_ms,
            from,
            to,
            precedence,
            lifetime_s,
            cancel_after_ms: None,
            read_after_ms: None,
            attached: Vec::new(),
        })
        .collect();
    plan
}

/// The recipient has the message, and then its relay is set back to a backup from before it took what is attached. The
/// relay before it names what was lost: of two regions to the sender, who had handed it over itself. With one more in
/// between nobody tells the sender, and to it all seems well: the recipient answers that the message is there.
#[must_use]
pub fn chunks_lost_behind_their_message(regions: usize, cut_ms: u64) -> Plan {
    // Four relays are a ring.
    let far = regions / 2;
    let (sender, recipient) = (Place::Agency(0), Place::Agency(far));
    let mut plan = plan(vec![
        fault(cut_ms, 10_000, FaultKind::Cut(Place::Relay(0), sender)),
        fault(5_000, 30_000, FaultKind::Restored(Place::Relay(far))),
        fault(5_000, 60_000, FaultKind::Cut(Place::Relay(far), recipient)),
    ]);
    plan.office = true;
    plan.shape = Shape { regions, agencies: regions, meshed: false, ..plan.shape };
    plan.mail[0].to = vec![far];
    plan.mail[0].attached = vec![2_000_000];
    plan
}

/// Mail waits for a recipient that loses its private prekeys meanwhile, and so does its sender: all of it is sealed anew,
/// to keys that were made after it was written, and so are the receipts, for which the sender has to ask.
#[must_use]
pub fn keys_lost_before_the_mail_for_them() -> Plan {
    let (sender, recipient) = (Place::Agency(0), Place::Agency(1));
    let mut plan = plan(vec![
        fault(500, 60_000, FaultKind::Cut(Place::Relay(0), recipient)),
        fault(5_000, 1_000, FaultKind::KeysLost(recipient)),
        fault(61_000, 1_000, FaultKind::KeysLost(sender)),
    ]);
    plan.office = true;
    plan.mail[0].attached = vec![300_000];
    let second = Mail { at_ms: 2_000, to: vec![1], attached: Vec::new(), ..plan.mail[0].clone() };
    plan.mail.push(second);
    plan
}

/// A message is refused as its recipient has lost its keys, and the notice of that as its sender has. Seed 12001, as it was then:
/// nobody is told of such a notice, relays had no more to say of the message, and its sender waited until it expired.
#[must_use]
pub fn a_notice_for_a_key_that_is_lost() -> Plan {
    let mut plan = plan(vec![
        fault(3_121, 12_893, FaultKind::KeysLost(Place::Agency(0))),
        fault(17_992, 28_160, FaultKind::KeysLost(Place::Agency(1))),
    ]);
    (plan.seed, plan.pace) = (12_002, Pace { delay_ms_max: 344, commit_ms_max: 44, text_bytes: 20 });
    (plan.shape.regions, plan.shape.agencies, plan.office) = (2, 2, true);
    let lifetime_s = 296_096;
    plan.mail[0] = Mail {
        at_ms: 3_353,
        from: 1,
        to: vec![0],
        precedence: Precedence::Priority,
        lifetime_s,
        ..plan.mail[0].clone()
    };
    plan
}

/// One region, three agencies; agency 0 writes to the others after a second.
fn plan(faults: Vec<Fault>) -> Plan {
    let shape = Shape {
        regions: 1,
        second: 0,
        homes: Vec::new(),
        agencies: 3,
        meshed: true,
        quota_bytes: None,
        rate: None,
        strict: false,
    };
    let mail = Mail {
        at_ms: 1_000,
        from: 0,
        to: vec![1, 2],
        precedence: Precedence::Routine,
        lifetime_s: 7 * 86_400,
        cancel_after_ms: None,
        read_after_ms: None,
        attached: Vec::new(),
    };
    Plan {
        seed: 1,
        office: false,
        shape,
        pace: Pace { delay_ms_max: 20, commit_ms_max: 5, text_bytes: 20 },
        mail: vec![mail],
        faults,
    }
}

const fn fault(at_ms: u64, for_ms: u64, kind: FaultKind) -> Fault {
    Fault { at_ms, for_ms, kind }
}
