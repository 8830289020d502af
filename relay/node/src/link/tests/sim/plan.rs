//! What one seed draws: nodes, weather, traffic, and what goes wrong when.

use std::time::Duration;

/// SplitMix64: small, and the same everywhere.
#[derive(Clone, Debug)]
pub(super) struct Draw(u64);

impl Draw {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another source, which what this one gives later does not depend on.
    pub(super) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0.
    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.unit() < probability
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    pub(super) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// What befalls single datagrams.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Weather {
    pub(super) lost: f64,
    pub(super) repeated: f64,
    pub(super) damaged: f64,
    /// Longer ones are lost, always: QUIC has to find out.
    pub(super) datagram_bytes_max: usize,
}

impl Weather {
    pub(super) const FAIR: Self = Self { lost: 0.0, repeated: 0.0, damaged: 0.0, datagram_bytes_max: 1500 };

    fn draw(draw: &mut Draw) -> Self {
        Self {
            lost: draw.pick(&[0.0, 0.0, 0.01, 0.05, 0.2]),
            repeated: draw.pick(&[0.0, 0.0, 0.02, 0.2]),
            damaged: draw.pick(&[0.0, 0.0, 0.02, 0.1]),
            datagram_bytes_max: draw.pick(&[1252, 1400, 1500]),
        }
    }
}

/// Nodes are named by their place in [`Plan::nodes`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    /// The node closes its links, in peace, and goes on.
    CloseLinks { node: usize },
    /// The process dies without a word.
    Crash { node: usize },
    /// Nothing passes.
    Cut { a: usize, b: usize },
    /// Nothing passes one way.
    CutOneWay { from: usize, to: usize },
    /// What is sent waits.
    Hold { a: usize, b: usize },
    /// Ends what was cut.
    Mend { a: usize, b: usize },
    /// What was held arrives, all at once.
    Release { a: usize, b: usize },
    /// The roster no longer names the node.
    Remove { node: usize },
    /// The node does not read events for a while: its disk is slow.
    Slow { node: usize, millis: u64 },
    /// A dead process is started again.
    Start { node: usize },
    /// The node ends in peace, and is to be started again.
    Stop { node: usize },
    /// The roster names the node again.
    Restore { node: usize },
    /// The weather changes everywhere.
    Weather(Weather),
}

/// Sizes and rates of what nodes say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traffic {
    /// Transfers at a time, at most.
    pub(super) burst_max: u64,
    /// Bytes of an envelope, at most.
    pub(super) envelope_bytes_max: u64,
    /// Between the arrival of a transfer and its acknowledgement.
    pub(super) store: Duration,
}

/// One run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// Names; those with a dot are agencies.
    pub(super) nodes: Vec<&'static str>,
    /// Who dials whom.
    pub(super) dials: Vec<(usize, usize)>,
    /// One way.
    pub(super) latency_max: Duration,
    pub(super) traffic: Traffic,
    /// [`crate::link::LinkLimits::received_bytes_max`].
    pub(super) received_bytes_max: usize,
    /// Events that wait for a node; at the bound its links are not read.
    pub(super) events_max: usize,
    /// Whether nodes read nothing for a moment when another one leaves in the end.
    pub(super) drowsy: bool,
    /// Time without faults before the nodes leave one after the other.
    pub(super) calm: Duration,
    /// In order of time, from the moment when everything was up.
    pub(super) faults: Vec<(Duration, Fault)>,
}

const NAMES: [&str; 5] = ["ap-1", "eu-1", "us-1", "ncb.ee", "ncb.fr"];

impl Plan {
    pub(super) fn draw(seed: u64) -> Self {
        let mut draw = Draw::new(seed);
        let relays = 1 + draw.below(3) as usize;
        let agencies = draw.below(3).max(u64::from(relays == 1)) as usize;
        let nodes: Vec<_> = NAMES[..relays].iter().chain(&NAMES[3..3 + agencies]).copied().collect();
        let crossing = draw.chance(0.5);
        let mut dials = Vec::new();
        for listener in 0..relays {
            dials.extend((0..nodes.len()).filter(|dialer| *dialer > listener).map(|dialer| (dialer, listener)));
            if crossing {
                dials.extend((0..listener).map(|dialer| (dialer, listener)));
            }
        }
        let mut plan = Self {
            seed,
            nodes,
            dials,
            latency_max: Duration::from_millis(draw.pick(&[5, 20, 50, 150])),
            traffic: Traffic {
                burst_max: draw.pick(&[1, 4, 12]),
                envelope_bytes_max: draw.pick(&[300, 5_000, 60_000, 400_000]),
                store: Duration::from_millis(draw.pick(&[0, 20, 200])),
            },
            received_bytes_max: draw.pick(&[0, 8 << 20, 64 << 20]),
            events_max: 64,
            drowsy: false,
            calm: Duration::from_secs(draw.pick(&[3, 3, 3, 3, 13, 30])),
            faults: Vec::new(),
        };
        plan.draw_faults(&mut draw);
        plan.events_max = draw.pick(&[1, 64, 256]);
        plan.drowsy = draw.chance(0.4);
        plan
    }

    /// Each seed has its own mix: some kinds of fault happen often in it, others not at all.
    fn draw_faults(&mut self, draw: &mut Draw) {
        let weights: Vec<u64> = (0..9).map(|_| draw.pick(&[0, 0, 1, 1, 3])).collect();
        let total: u64 = weights.iter().sum();
        let mut at = draw.millis(100, 2000);
        for _ in 0..if total == 0 { 0 } else { 1 + draw.below(8) } {
            let mut ticket = draw.below(total);
            let kind = weights.iter().position(|weight| {
                let hit = ticket < *weight;
                ticket = ticket.saturating_sub(*weight);
                hit
            });
            let span = draw.pick(&[50, 400, 900, 2000, 6000, 24_000]);
            let until = at + draw.millis(span / 2, span + 1);
            let (first, last) = self.draw_fault(kind.unwrap_or_default(), draw);
            self.faults.push((at, first));
            self.faults.extend(last.map(|last| (until, last)));
            at += draw.millis(0, 5000);
        }
        self.faults.sort_by_key(|(at, _)| *at);
    }

    /// A fault, and what ends it.
    fn draw_fault(&self, kind: usize, draw: &mut Draw) -> (Fault, Option<Fault>) {
        let (a, b) = draw.pick(&self.dials);
        let node = draw.below(self.nodes.len() as u64) as usize;
        match kind {
            0 => (Fault::Cut { a, b }, Some(Fault::Mend { a, b })),
            1 if draw.chance(0.5) => (Fault::CutOneWay { from: a, to: b }, Some(Fault::Mend { a, b })),
            1 => (Fault::CutOneWay { from: b, to: a }, Some(Fault::Mend { a, b })),
            2 => (Fault::Hold { a, b }, Some(Fault::Release { a, b })),
            3 => (Fault::Crash { node }, Some(Fault::Start { node })),
            4 => (Fault::Stop { node }, Some(Fault::Start { node })),
            5 => (Fault::CloseLinks { node }, None),
            6 => (Fault::Slow { node, millis: draw.pick(&[300, 1500, 6000]) }, None),
            7 => (Fault::Remove { node }, Some(Fault::Restore { node })),
            _ => (Fault::Weather(Weather::draw(draw)), Some(Fault::Weather(Weather::FAIR))),
        }
    }

    /// There and back.
    pub(super) fn rtt_max(&self) -> Duration {
        2 * (self.latency_max + super::TICK)
    }
}
