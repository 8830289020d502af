//! Runs one plan: hosts, wires, and what goes wrong, step by step of simulated time.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::app::{App, Order, Part};
use super::journal::{Journal, Note, What};
use super::net::SimSocket;
use super::plan::{Draw, Fault, Plan, Weather};
use super::*;

/// Time for the links to come up before anything goes wrong.
const RISE: Duration = Duration::from_secs(3);
/// How long a node may take to leave.
const LEAVE: Duration = Duration::from_secs(10);
/// Less than links wait for a run loop that is behind.
const DROWSE: Duration = Duration::from_millis(400);
/// Packets that a socket holds; more are lost.
const SOCKET_PACKETS_MAX: usize = 4096;

/// What the run knows of a node.
struct Seat {
    orders: Rc<RefCell<VecDeque<Order>>>,
    removed: bool,
    stopping: bool,
    /// Until then the node reads no events.
    slow_until: Duration,
}

struct World<'a> {
    sim: turmoil::Sim<'a>,
    plan: &'a Plan,
    journal: Journal,
    weather: Arc<Mutex<Weather>>,
    roster: watch::Sender<Arc<TestPeers>>,
    nodes: Vec<Seat>,
}

/// Runs a plan to its end.
///
/// # Errors
/// Something panicked, or never ended.
pub(super) fn run(plan: &Plan) -> Result<Vec<Note>, String> {
    let mut world = World::build(plan);
    world.play().map_err(|error| error.to_string())?;
    Ok(world.journal.take())
}

impl<'a> World<'a> {
    fn build(plan: &'a Plan) -> Self {
        let mut draw = Draw::new(plan.seed).fork();
        let mut builder = turmoil::Builder::new();
        builder
            .rng_seed(draw.next())
            .tick_duration(TICK)
            .simulation_duration(Duration::from_secs(3600))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(plan.latency_max)
            .udp_capacity(SOCKET_PACKETS_MAX);
        let mut world = Self {
            sim: builder.build(),
            plan,
            journal: Journal::default(),
            weather: Arc::new(Mutex::new(Weather::FAIR)),
            roster: watch::Sender::new(Arc::new(peers(&plan.nodes, 1))),
            nodes: Vec::new(),
        };
        for node in 0..plan.nodes.len() {
            world.add(node, draw.fork());
        }
        world
    }

    fn add(&mut self, node: usize, draw: Draw) {
        let (orders, lives) = (Rc::<RefCell<VecDeque<Order>>>::default(), Rc::new(Cell::new(0)));
        let seat = Seat { orders: orders.clone(), removed: false, stopping: false, slow_until: Duration::ZERO };
        self.nodes.push(seat);
        let part = Part {
            node,
            life: 0,
            names: Rc::new(self.plan.nodes.clone()),
            dials: self.plan.dials.iter().filter(|(dialer, _)| *dialer == node).map(|(_, to)| *to).collect(),
            traffic: self.plan.traffic,
            received_bytes_max: self.plan.received_bytes_max,
            events_max: self.plan.events_max,
            roster: self.roster.subscribe(),
            orders,
            journal: self.journal.clone(),
            draw,
        };
        let weather = self.weather.clone();
        self.sim.host(self.plan.nodes[node], move || {
            lives.set(lives.get() + 1);
            let mut part = Part { life: lives.get(), ..part.clone() };
            part.draw = Draw::new(part.draw.clone().next() + u64::from(part.life));
            let weather = weather.clone();
            async move {
                let port = if part.names[part.node].contains('.') { 0 } else { PORT };
                let socket = SimSocket::bind(port, weather, part.draw.fork()).await;
                App::start(part, socket).run().await;
                Ok(())
            }
        });
    }

    fn play(&mut self) -> turmoil::Result {
        self.pass(RISE)?;
        let began = self.sim.elapsed();
        for (at, fault) in &self.plan.faults {
            self.pass((began + *at).saturating_sub(self.sim.elapsed()))?;
            self.inflict(*fault)?;
        }
        let quiet = self.nodes.iter().map(|seat| seat.slow_until).max().unwrap_or_default();
        self.pass(quiet.saturating_sub(self.sim.elapsed()) + Duration::from_millis(100))?;
        self.heal()?;
        self.pass(self.plan.calm + self.plan.back_within())?;
        for node in 0..self.nodes.len() {
            self.order(node, Order::Stop);
            let others = (node + 1..self.nodes.len()).filter(|_| self.plan.drowsy);
            others.for_each(|other| self.order(other, Order::Sleep(DROWSE)));
            self.until_gone(node)?;
            if self.plan.drowsy {
                // They read what came meanwhile before they doze off again: else they are behind for longer than that.
                self.pass(DROWSE)?;
            }
        }
        Ok(())
    }

    fn until_gone(&mut self, node: usize) -> turmoil::Result {
        let end = self.sim.elapsed().max(self.nodes[node].slow_until) + LEAVE;
        while self.is_running(node) {
            if self.sim.elapsed() >= end {
                Err(format!("{} does not end", self.plan.nodes[node]))?;
            }
            self.sim.step()?;
        }
        Ok(())
    }

    fn pass(&mut self, span: Duration) -> turmoil::Result {
        let end = self.sim.elapsed() + span;
        while self.sim.elapsed() < end {
            self.sim.step()?;
        }
        Ok(())
    }

    fn is_running(&mut self, node: usize) -> bool {
        self.sim.is_host_running(self.plan.nodes[node])
    }

    fn order(&self, node: usize, order: Order) {
        self.nodes[node].orders.borrow_mut().push_back(order);
    }

    fn note(&self, what: What) {
        self.journal.note(self.sim.elapsed(), 0, 0, what);
    }

    fn inflict(&mut self, fault: Fault) -> turmoil::Result {
        if let Fault::Start { node } = fault
            && std::mem::take(&mut self.nodes[node].stopping)
        {
            self.until_gone(node)?;
        }
        let name = |node: usize| self.plan.nodes[node];
        match fault {
            Fault::CloseLinks { node } => self.order(node, Order::CloseLinks),
            Fault::Crash { node } if self.is_running(node) => self.sim.crash(name(node)),
            Fault::Start { node } if !self.is_running(node) => {
                // Now, not when the process runs: it may be told to stop before it does.
                self.nodes[node].orders.borrow_mut().clear();
                self.sim.bounce(name(node));
            }
            Fault::Crash { .. } | Fault::Start { .. } => return Ok(()),
            Fault::Cut { a, b } => self.sim.partition(name(a), name(b)),
            Fault::CutOneWay { from, to } => self.sim.partition_oneway(name(from), name(to)),
            Fault::Hold { a, b } => self.sim.hold(name(a), name(b)),
            Fault::Mend { a, b } => self.sim.repair(name(a), name(b)),
            Fault::Release { a, b } => self.sim.release(name(a), name(b)),
            Fault::Remove { node } => self.set_removed(node, true),
            Fault::Restore { node } => self.set_removed(node, false),
            Fault::Slow { node, millis } => {
                let span = Duration::from_millis(millis);
                self.nodes[node].slow_until = self.nodes[node].slow_until.max(self.sim.elapsed()) + span;
                self.order(node, Order::Sleep(span));
            }
            Fault::Stop { node } => {
                self.nodes[node].stopping = true;
                self.order(node, Order::Stop);
            }
            Fault::Weather(weather) => *self.weather.lock().unwrap() = weather,
        }
        self.note(What::Fault(fault));
        Ok(())
    }

    fn set_removed(&mut self, node: usize, removed: bool) {
        self.nodes[node].removed = removed;
        let named: Vec<_> = (0..self.nodes.len()).filter(|node| !self.nodes[*node].removed).collect();
        let named: Vec<_> = named.into_iter().map(|node| self.plan.nodes[node]).collect();
        let version = self.roster.borrow().version + 1;
        self.roster.send_replace(Arc::new(peers(&named, version)));
    }

    /// Ends every fault.
    fn heal(&mut self) -> turmoil::Result {
        let count = self.nodes.len();
        for (a, b) in (0..count).flat_map(|a| (0..a).map(move |b| (a, b))) {
            self.inflict(Fault::Release { a, b })?;
            self.inflict(Fault::Mend { a, b })?;
        }
        self.inflict(Fault::Weather(Weather::FAIR))?;
        for node in 0..count {
            if self.nodes[node].removed {
                self.inflict(Fault::Restore { node })?;
            }
            self.inflict(Fault::Start { node })?;
        }
        self.note(What::Healed);
        Ok(())
    }
}

/// A roster of these nodes.
pub(super) fn peers(names: &[&str], version: u32) -> TestPeers {
    let nodes = names.iter().map(|name| (*CAST.identity(name).tls_key(), (id(name), role(name)))).collect();
    TestPeers { version, nodes }
}
