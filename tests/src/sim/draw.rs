//! From a seed to a plan. Swarm testing (Groce et al. 2012): each seed draws its own mix and sizes of faults, so that
//! some runs have faults that others leave out.

use liaison_protocol::Precedence;
use liaison_protocol::limits::CHUNK_BYTES;

use super::plan::{Change, Fault, FaultKind, Homes, Mail, Offer, Pace, Place, Plan, Shape, Trick};
use super::rng::{SimRng, to_usize};

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;
/// The longest lifetime that the simulated roster allows.
const LIFETIME_S_MAX: u64 = 7 * 86_400;
/// Nobody erases an office's prekeys in a run, and there is room for so many days' and those ahead.
const OFFICE_MS_MAX: u64 = 120 * DAY;
/// The real office costs more than the rest of a run.
const OFFICE_PERCENT: u64 = 25;
/// What is read, and what is attached, are drawn apart, so that what a seed meant before it still means.
const READ: u64 = 0x7265_6164;
const ATTACHED: u64 = 0x6174_7461;
const SECOND_HOMES: u64 = 0x686f_6d65;
const TRICKS: u64 = 0x6c69_6573;
const PUT_BACK: u64 = 0x6f6c_6421;
const STOLEN: u64 = 0x7468_6965;
const KEYS_LOST: u64 = 0x6b65_7973;
/// A deep queue is deep enough without chunks.
const ATTACHING_MAX: usize = 60;
/// A roster is in force for eighty days.
const RENEWAL_MS: u64 = 50 * DAY;
/// Clocks differ by less than half of what ids are remembered past expiry.
const CLOCK_MS_MAX: u64 = 11 * HOUR;

impl Plan {
    /// Draws a plan.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = SimRng::new(seed);
        let mut shape = shape(&mut rng);
        let pace = Pace {
            delay_ms_max: rng.range(1, 400),
            commit_ms_max: rng.range(1, 60),
            text_bytes: if shape.quota_bytes.is_some() { 4_000 } else { 20 },
        };
        // Most runs are short and dense; some last hours, some weeks.
        let horizon_ms = match rng.range(0, 100) {
            0..70 => rng.range(SECOND, 120 * SECOND),
            70..88 => rng.range(HOUR, 12 * HOUR),
            _ => rng.range(DAY, 20 * DAY),
        };
        if horizon_ms > DAY {
            // A full queue is asked after every minute: for days of that there are better uses.
            shape.quota_bytes = None;
        }
        let mut mail = mail(&shape, horizon_ms, &mut rng);
        let mut faults = faults(&shape, horizon_ms, &mut rng);
        second_homes(&mut shape, horizon_ms, &mut faults, &mut SimRng::new(seed ^ SECOND_HOMES));
        more_tricks(&shape, horizon_ms, &mut faults, &mut SimRng::new(seed ^ TRICKS));
        keep_clocks_near(&mut faults);
        let beyond = rng.percent(2);
        if beyond {
            beyond_the_roster(&mut mail, &mut faults, &mut rng);
        }
        let office = rng.percent(OFFICE_PERCENT);
        // See `with_office`.
        if !beyond && !office && shape.rate.is_none() && rng.percent(3) {
            over_months(horizon_ms, &mut mail, &mut faults, &mut rng);
        }
        read(&mut mail, &mut SimRng::new(seed ^ READ));
        attach(&shape, &mut mail, &mut SimRng::new(seed ^ ATTACHED));
        let plan = Self { seed, office: false, shape, pace, mail, faults };
        if office { plan.with_office() } else { plan }
    }

    /// The same with whole daemons, and with what goes wrong only for these; a plan of many months as it is.
    #[must_use]
    pub fn with_office(mut self) -> Self {
        let short = self.settled_ms() <= OFFICE_MS_MAX;
        if short && !std::mem::replace(&mut self.office, true) {
            let seed = self.seed;
            let mut rng = SimRng::new(seed ^ KEYS_LOST);
            lose_keys(&mut self, &mut rng);
            steal(&mut self, &mut SimRng::new(seed ^ STOLEN));
            put_back(&mut self, &mut SimRng::new(seed ^ PUT_BACK));
        }
        self
    }
}

/// In some plans daemons lose their prekeys, at any time until shortly after the last message; in some of these a relay
/// says that more of them have.
fn lose_keys(plan: &mut Plan, rng: &mut SimRng) {
    let until_ms = plan.mail.iter().map(|mail| mail.at_ms).max().unwrap_or(0) + 30 * SECOND;
    if !rng.percent(20) {
        return;
    }
    for _ in 0..rng.range(1, 4) {
        let agency = Place::Agency(to_usize(rng.range(0, plan.shape.agencies as u64)));
        let (at_ms, for_ms) = (rng.range(2, until_ms), rng.range(10, 30 * SECOND));
        plan.faults.push(Fault { at_ms, for_ms, kind: FaultKind::KeysLost(agency) });
    }
    let hostile = plan.faults.iter().any(|fault| matches!(fault.kind, FaultKind::Trick(..)));
    if rng.percent(20) && !hostile {
        let kind = FaultKind::Trick(relay(&plan.shape, rng), Trick::Unkey, rng.range(5, 101));
        plan.faults.push(Fault { at_ms: 2, for_ms: until_ms, kind });
    }
}

/// In some plans somebody has an agency's signing key and publishes prekeys; in most of these the roster replaces the key.
fn steal(plan: &mut Plan, rng: &mut SimRng) {
    let until_ms = plan.mail.iter().map(|mail| mail.at_ms).max().unwrap_or(0) + 30 * SECOND;
    let beyond = plan.mail.iter().any(|mail| mail.at_ms > 35 * DAY);
    if beyond || !rng.percent(15) {
        return;
    }
    let agency = to_usize(rng.range(0, plan.shape.agencies as u64));
    for _ in 0..rng.range(1, 4) {
        let kind = FaultKind::Stolen(Place::Agency(agency));
        plan.faults.push(Fault { at_ms: rng.range(2, until_ms), for_ms: SECOND, kind });
    }
    if rng.percent(70) {
        let kind = FaultKind::Roster(Change::Rekeyed(agency));
        plan.faults.push(Fault { at_ms: rng.range(2, until_ms), for_ms: rng.range(1, 10 * SECOND), kind });
    }
    // Rosters are numbered in the order of the plan.
    plan.faults.sort_by_key(|fault| fault.at_ms);
}

/// In some plans an old copy of an agency's store is put back, at any time until shortly after the last message.
fn put_back(plan: &mut Plan, rng: &mut SimRng) {
    let until_ms = plan.mail.iter().map(|mail| mail.at_ms).max().unwrap_or(0) + 30 * SECOND;
    if !rng.percent(15) {
        return;
    }
    for _ in 0..rng.range(1, 3) {
        let agency = Place::Agency(to_usize(rng.range(0, plan.shape.agencies as u64)));
        let (at_ms, for_ms) = (rng.range(2, until_ms), rng.range(10, until_ms.max(11)));
        plan.faults.push(Fault { at_ms, for_ms, kind: FaultKind::Restored(agency) });
    }
}

fn shape(rng: &mut SimRng) -> Shape {
    let regions = to_usize(rng.range(1, 5));
    Shape {
        regions,
        second: u8::from(rng.percent(40)),
        homes: Vec::new(),
        agencies: regions.max(2) * to_usize(rng.range(1, 4)),
        meshed: rng.percent(60),
        quota_bytes: rng.percent(10).then(|| rng.range(12_000, 40_000)),
        rate: rng.percent(3).then_some(1),
        strict: rng.percent(15),
    }
}

/// In a third of the plans more regions have a second relay, agencies have one home or two in either order, and now and
/// then one relay of a region is of no use while the other one is sound.
fn second_homes(shape: &mut Shape, horizon_ms: u64, faults: &mut Vec<Fault>, rng: &mut SimRng) {
    if !rng.percent(33) {
        return;
    }
    (0..shape.regions).for_each(|region| shape.second |= u8::from(rng.percent(60)) << region);
    let homes = [Homes::Both, Homes::Turned, Homes::Both, Homes::Turned, Homes::First, Homes::Second];
    shape.homes = (0..rng.range(1, 5)).map(|_| *rng.pick(&homes)).collect();
    for region in 0..shape.regions {
        let Some(second) = shape.second_relay(region).filter(|_| rng.percent(50)) else { continue };
        let useless = *rng.pick(&[region, second]);
        let at_ms = rng.range(2, horizon_ms);
        let mut faulty = |kind, for_ms| faults.push(Fault { at_ms, for_ms, kind });
        let (relay, for_ms) = (Place::Relay(useless), rng.range(1, (horizon_ms - at_ms).max(30 * SECOND)));
        // What refuses is asked again and again.
        let refuses_ms = for_ms.min(2 * HOUR);
        match rng.range(0, 8) {
            0 => faulty(FaultKind::Gone(relay), 1),
            1 => faulty(FaultKind::Crash(relay), for_ms),
            2 => faulty(FaultKind::Drain(relay), refuses_ms),
            3 => faulty(FaultKind::Low(relay), refuses_ms),
            4 => faulty(FaultKind::Full(relay, 100), refuses_ms),
            5 => faulty(FaultKind::ClockJump(relay, -slow_ms(rng)), refuses_ms),
            6 => {
                let others = (0..shape.relays()).filter(|other| *other != useless);
                others.for_each(|other| faulty(FaultKind::Cut(relay, Place::Relay(other)), for_ms));
            }
            // The agency is linked to its other home alone.
            _ => {
                let agencies = (0..shape.agencies).filter(|agency| shape.homes(*agency).contains(&useless));
                agencies.for_each(|agency| faulty(FaultKind::Cut(relay, Place::Agency(agency)), for_ms));
            }
        }
    }
    faults.sort_by_key(|fault| fault.at_ms);
}

/// By how much a clock is slow that refuses honest mail.
fn slow_ms(rng: &mut SimRng) -> i64 {
    i64::try_from(rng.range(5 * 60 * SECOND, HOUR)).expect("an hour fits")
}

fn mail(shape: &Shape, horizon_ms: u64, rng: &mut SimRng) -> Vec<Mail> {
    let lifetime_s_max = if rng.percent(30) { rng.range(5, 60) } else { LIFETIME_S_MAX };
    // Some bursts, as they fill group commits.
    let spread_ms = if rng.percent(25) { (horizon_ms / 20).max(3) } else { horizon_ms };
    let agencies = shape.agencies as u64;
    let cancels = rng.percent(20);
    // One agency floods, where that is limited; or fills one queue deeper than a node keeps in memory.
    let deep = shape.rate.is_none() && rng.percent(1);
    let flooder = (shape.rate.is_some() || deep).then(|| to_usize(rng.range(0, agencies)));
    let spread_ms = if shape.rate.is_some() { 3_000 } else { spread_ms };
    let count = match (shape.rate, deep) {
        (Some(_), _) => rng.range(40, 60),
        (None, true) => rng.range(280, 400),
        (None, false) => rng.range(3, 30),
    };
    (0..count)
        .map(|_| {
            let mut to: Vec<usize> = Vec::new();
            for _ in 0..if deep { 1 } else { rng.range(1, 5) } {
                let agency = if deep { 0 } else { to_usize(rng.range(0, agencies)) };
                if !to.contains(&agency) {
                    to.push(agency);
                }
            }
            to.sort_unstable();
            Mail {
                at_ms: rng.range(2, spread_ms.max(4)),
                from: flooder.unwrap_or_else(|| to_usize(rng.range(0, agencies))),
                to,
                precedence: *rng.pick(&Precedence::DRAIN_ORDER),
                lifetime_s: rng.range(1, lifetime_s_max + 1),
                cancel_after_ms: (cancels && rng.percent(20)).then(|| rng.range(0, 2_000)),
                read_after_ms: None,
                attached: Vec::new(),
            }
        })
        .collect()
}

/// Two jumps of one clock together are no further than one may be: an office has no key for the day before yesterday.
fn keep_clocks_near(faults: &mut Vec<Fault>) {
    let mut kept: Vec<(Place, u64, u64, i64)> = Vec::new();
    faults.retain(|fault| {
        let FaultKind::ClockJump(place, by_ms) = fault.kind else { return true };
        let (from, to) = (fault.at_ms, fault.at_ms + fault.for_ms);
        let beside = kept.iter().filter(|(other, began, ended, _)| *other == place && *began <= to && from <= *ended);
        let near = (by_ms + beside.map(|(.., by_ms)| by_ms).sum::<i64>()).unsigned_abs() <= CLOCK_MS_MAX;
        if near {
            kept.push((place, from, to, by_ms));
        }
        near
    });
}

/// In half of the plans applications say what they have read: some at once, before the delivery receipt is made, and some
/// when it has long been there.
fn read(mail: &mut [Mail], rng: &mut SimRng) {
    let read = rng.percent(50);
    let slowest_ms = *rng.pick(&[2, 2 * SECOND, 120 * SECOND, HOUR]);
    for message in mail.iter_mut().filter(|_| read) {
        message.read_after_ms = rng.percent(60).then(|| rng.range(0, slowest_ms));
    }
}

/// In a third of the plans some messages have attachments, of a chunk or two each. Quotas have no room for a chunk.
fn attach(shape: &Shape, mail: &mut [Mail], rng: &mut SimRng) {
    let room = shape.quota_bytes.is_none() && shape.rate.is_none() && mail.len() <= ATTACHING_MAX;
    let some = rng.percent(33) && room;
    for message in mail.iter_mut().filter(|_| some) {
        let files = if rng.percent(25) { rng.range(1, 3) } else { 0 };
        for _ in 0..files {
            let whole = if rng.percent(40) { CHUNK_BYTES } else { 0 };
            message.attached.push(whole + to_usize(rng.range(1, 4_000)));
        }
    }
}

/// Nobody publishes a roster for a quarter of a year: what is submitted then is not carried.
fn beyond_the_roster(mail: &mut [Mail], faults: &mut Vec<Fault>, rng: &mut SimRng) {
    faults.retain(|fault| !matches!(fault.kind, FaultKind::Roster(_) | FaultKind::Offer(..)));
    for message in mail.iter_mut().filter(|_| rng.percent(50)) {
        message.at_ms += 95 * DAY;
        message.lifetime_s = message.lifetime_s.min(600);
    }
}

/// The same plan with weeks between what happens, and the roster renewed in time: what is forgotten, compared and
/// remembered between one event and the next differs.
fn over_months(horizon_ms: u64, mail: &mut [Mail], faults: &mut Vec<Fault>, rng: &mut SimRng) {
    let months_ms = rng.range(30 * DAY, 360 * DAY);
    let later = |at_ms: u64| u64::try_from(u128::from(at_ms) * u128::from(months_ms) / u128::from(horizon_ms));
    mail.iter_mut().for_each(|message| message.at_ms = later(message.at_ms).expect("within the months"));
    faults.iter_mut().for_each(|fault| fault.at_ms = later(fault.at_ms).expect("within the months"));
    let renewals = (1..).map(|number| number * RENEWAL_MS).take_while(|at_ms| *at_ms < months_ms);
    faults.extend(renewals.map(|at_ms| Fault { at_ms, for_ms: SECOND, kind: FaultKind::Roster(Change::Nothing) }));
    faults.sort_by_key(|fault| fault.at_ms);
}

/// Kinds that a plan may have, each with the chance of it in percent and how many it then has at most.
type Draw = fn(&Shape, u64, &mut SimRng) -> FaultKind;
const KINDS: [(u64, u64, Draw); 18] = [
    (65, 10, |shape, _, rng| FaultKind::Crash(any(shape, rng))),
    (50, 12, |shape, _, rng| linked(shape, rng, FaultKind::Cut)),
    (20, 6, |shape, _, rng| linked(shape, rng, FaultKind::Stall)),
    (10, 3, |shape, _, rng| linked(shape, rng, FaultKind::Flap)),
    (10, 2, |shape, _, rng| FaultKind::Dark(to_usize(rng.range(0, shape.regions as u64)))),
    (12, 2, |_, _, rng| FaultKind::Frames {
        lost: rng.range(0, 60),
        repeated: rng.range(0, 60),
        overtaken: rng.range(0, 200),
    }),
    (18, 3, |shape, _, rng| FaultKind::Full(any(shape, rng), rng.range(1, 60))),
    (10, 2, |shape, _, rng| FaultKind::Low(any(shape, rng))),
    (10, 2, |shape, _, rng| FaultKind::Slow(any(shape, rng), rng.range(100, 20_000))),
    (15, 3, |shape, _, rng| FaultKind::SyncFails(any(shape, rng))),
    (8, 2, |shape, _, rng| FaultKind::Rot(relay(shape, rng))),
    (10, 2, |shape, _, rng| FaultKind::DiskLost(relay(shape, rng))),
    (6, 1, |shape, _, rng| FaultKind::Restored(relay(shape, rng))),
    (10, 3, |shape, _, rng| FaultKind::ClockJump(any(shape, rng), jump(rng))),
    (10, 3, |shape, _, rng| FaultKind::Drain(any(shape, rng))),
    (15, 3, |shape, _, rng| FaultKind::Roster(change(shape, rng))),
    (10, 4, |shape, _, rng| FaultKind::Offer(any(shape, rng), *rng.pick(&OFFERS))),
    (15, 3, |shape, _, rng| trick(shape, rng)),
];

const OFFERS: [Offer; 6] =
    [Offer::Forged, Offer::Fork, Offer::Older, Offer::Short, Offer::Twice, Offer::WrongPredecessor];

fn faults(shape: &Shape, horizon_ms: u64, rng: &mut SimRng) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (percent, most, draw) in KINDS {
        if !rng.percent(percent) {
            continue;
        }
        for _ in 0..rng.range(1, most + 1) {
            let kind = draw(shape, horizon_ms, rng);
            let at_ms = rng.range(2, horizon_ms);
            faults.push(Fault { at_ms, for_ms: span(kind, horizon_ms, rng), kind });
        }
    }
    // One hostile node at most: what is promised with two of them is little.
    let hostile = faults.iter().find_map(|fault| match fault.kind {
        FaultKind::Trick(place, ..) => Some(place),
        _ => None,
    });
    faults.retain(|fault| !matches!(fault.kind, FaultKind::Trick(place, ..) if Some(place) != hostile));
    faults.sort_by_key(|fault| fault.at_ms);
    faults
}

fn span(kind: FaultKind, horizon_ms: u64, rng: &mut SimRng) -> u64 {
    match kind {
        FaultKind::Crash(_)
        | FaultKind::SyncFails(_)
        | FaultKind::Rot(_)
        | FaultKind::DiskLost(_)
        | FaultKind::Gone(_)
        | FaultKind::KeysLost(_) => rng.range(10, 30 * SECOND),
        // A node that drains or has no room for days is not looked after.
        FaultKind::Drain(_) | FaultKind::Low(_) | FaultKind::Full(..) | FaultKind::Slow(..) => {
            rng.range(1, horizon_ms.min(HOUR))
        }
        FaultKind::Roster(_) | FaultKind::Offer(..) | FaultKind::Stolen(_) => rng.range(1, 10 * SECOND),
        FaultKind::Flap(..) => rng.range(1, horizon_ms.min(600 * SECOND)),
        FaultKind::ClockJump(..) => rng.range(1, horizon_ms.min(2 * DAY)),
        // Its links end each minute and are made again, with all that waits behind them.
        FaultKind::Trick(_, Trick::Hold, _) => rng.range(1, horizon_ms.min(2 * DAY)),
        FaultKind::Cut(..) | FaultKind::Dark(_) | FaultKind::Stall(..) => rng.range(1, horizon_ms),
        FaultKind::Frames { .. } | FaultKind::Restored(_) | FaultKind::Trick(..) => rng.range(1, horizon_ms),
    }
}

fn any(shape: &Shape, rng: &mut SimRng) -> Place {
    let number = to_usize(rng.range(0, (shape.relays() + shape.agencies) as u64));
    if number < shape.relays() { Place::Relay(number) } else { Place::Agency(number - shape.relays()) }
}

fn relay(shape: &Shape, rng: &mut SimRng) -> Place {
    Place::Relay(to_usize(rng.range(0, shape.relays() as u64)))
}

/// An agency and its home, or two relays.
fn linked(shape: &Shape, rng: &mut SimRng, kind: fn(Place, Place) -> FaultKind) -> FaultKind {
    let ends = match any(shape, rng) {
        Place::Agency(agency) => (Place::Relay(shape.homes(agency)[0]), Place::Agency(agency)),
        relay_end => (relay_end, relay(shape, rng)),
    };
    if rng.percent(50) { kind(ends.0, ends.1) } else { kind(ends.1, ends.0) }
}

fn jump(rng: &mut SimRng) -> i64 {
    let most = if rng.percent(50) { 4 * 60 * SECOND } else { CLOCK_MS_MAX };
    let by = i64::try_from(rng.range(1, most)).expect("hours fit");
    if rng.percent(50) { by } else { -by }
}

fn change(shape: &Shape, rng: &mut SimRng) -> Change {
    let agency = to_usize(rng.range(0, shape.agencies as u64));
    match rng.range(0, 4) {
        0 => Change::Removed(agency),
        1 => Change::Suspended(agency),
        _ => Change::Nothing,
    }
}

fn trick(shape: &Shape, rng: &mut SimRng) -> FaultKind {
    const AS_RELAY: [Trick; 10] = [
        Trick::Attempts,
        Trick::Branch,
        Trick::Forge,
        Trick::Hold,
        Trick::Lane,
        Trick::Loop,
        Trick::Reach,
        Trick::Replay,
        Trick::Strip,
        Trick::Swallow,
    ];
    let percent = rng.range(5, 101);
    if rng.percent(20) {
        let agency = to_usize(rng.range(0, shape.agencies as u64));
        return FaultKind::Trick(Place::Agency(agency), Trick::Spoof, percent);
    }
    FaultKind::Trick(relay(shape, rng), *rng.pick(&AS_RELAY), percent)
}

/// In some plans that have no hostile node yet, an agency or a relay plays false in several ways at once.
fn more_tricks(shape: &Shape, horizon_ms: u64, faults: &mut Vec<Fault>, rng: &mut SimRng) {
    const AS_AGENCY: [Trick; 7] =
        [Trick::Answers, Trick::Babble, Trick::Books, Trick::Copy, Trick::Proofs, Trick::Spoof, Trick::Withhold];
    const AS_RELAY: [Trick; 10] = [
        Trick::Answers,
        Trick::Babble,
        Trick::Books,
        Trick::Forge,
        Trick::Proofs,
        Trick::Reach,
        Trick::Replay,
        Trick::Swallow,
        Trick::Unproven,
        Trick::Withhold,
    ];
    let hostile = faults.iter().any(|fault| matches!(fault.kind, FaultKind::Trick(..)));
    if hostile || !rng.percent(12) {
        return;
    }
    let agency = rng.percent(50);
    let place = if agency { Place::Agency(to_usize(rng.range(0, shape.agencies as u64))) } else { relay(shape, rng) };
    for _ in 0..rng.range(1, 5) {
        let trick = if agency { *rng.pick(&AS_AGENCY) } else { *rng.pick(&AS_RELAY) };
        let (at_ms, percent) = (rng.range(2, horizon_ms), rng.range(5, 101));
        let for_ms = rng.range(1, horizon_ms);
        faults.push(Fault { at_ms, for_ms, kind: FaultKind::Trick(place, trick, percent) });
    }
    faults.sort_by_key(|fault| fault.at_ms);
}
