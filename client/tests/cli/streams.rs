use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use liaison_client::api::model::EventKind;

use crate::daemon::{Daemon, event, id, line};
use crate::runner::Desk;

/// A program that runs on; killed when dropped.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(desk: &Desk, words: &[&str]) -> Self {
        let mut child = desk.command(words).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn events_are_one_object_a_line_and_resume_from_a_cursor() {
    let desk = Desk::new();
    desk.daemon.world().events = (1..=3).map(|cursor| event(cursor, EventKind::Received, Some(id('b')))).collect();
    let ended = desk.run(&["watch", "--cursor", "1", "--limit", "2", "--json=cursor,kind"]);
    let expected = "{\"cursor\":2,\"kind\":\"message.received\"}\n{\"cursor\":3,\"kind\":\"message.received\"}\n";
    assert_eq!((ended.code, ended.stdout.as_str()), (0, expected));
    assert_eq!(desk.run(&["watch", "--cursor", "start", "--limit", "3"]).stdout.lines().count(), 3);
    assert_eq!(desk.run(&["watch", "--cursor", "x"]).code, 2);
}

#[test]
fn a_watch_outlives_a_restart_of_the_daemon() {
    let mut desk = Desk::new();
    desk.daemon.world().events.push(event(1, EventKind::LinkUp, None));
    let mut watch = Running::start(&desk, &["watch", "--cursor", "0", "--json=cursor"]);
    assert_eq!(watch.line(), "{\"cursor\":1}");
    let (socket, world) = (desk.path("d.sock"), desk.daemon.world.clone());
    let other = Daemon::start(&desk.path("other.sock"));
    drop(std::mem::replace(&mut desk.daemon, other));
    world.lock().unwrap().events.push(event(2, EventKind::LinkDown, None));
    desk.daemon = Daemon::resume(&socket, world);
    assert_eq!(watch.line(), "{\"cursor\":2}");
}

#[test]
fn a_followed_inbox_goes_on_in_order() {
    let desk = Desk::new();
    desk.daemon.world().inbox = vec![line(1, 'b'), line(2, 'c')];
    let mut follow = Running::start(&desk, &["inbox", "--follow", "--json=subject"]);
    assert_eq!(follow.line(), "{\"subject\":\"message 1\"}");
    assert_eq!(follow.line(), "{\"subject\":\"message 2\"}");
    std::thread::sleep(Duration::from_millis(100));
    {
        let mut world = desk.daemon.world();
        world.inbox.push(line(3, 'd'));
        world.events.push(event(1, EventKind::Received, Some(id('d'))));
    }
    assert_eq!(follow.line(), "{\"subject\":\"message 3\"}");
}

#[test]
fn an_interrupted_program_says_so() {
    let desk = Desk::new();
    let mut child = desk.command(&["watch"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let desk = Desk::new();
    desk.daemon.world().inbox = (1..=900).map(|seq| line(seq, 'b')).collect();
    let mut child = desk
        .command(&["inbox", "--limit", "1000", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}
