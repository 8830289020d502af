//! What systemd hears.

use std::os::unix::net::UnixDatagram;

use rustix::process::Signal;

use crate::site::{PATIENCE, Site};

#[test]
fn systemd_hears_of_start_life_reload_and_stop() {
    let site = Site::new(1);
    let path = site.beside("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = site.command();
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    let mut running = site.start_with(&mut command);
    let hear = |wanted: &str| loop {
        let mut buffer = [0; 4096];
        let bytes = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{wanted}: {error}"));
        let text = String::from_utf8_lossy(&buffer[..bytes]).into_owned();
        if text.lines().any(|line| line == wanted) {
            return text;
        }
    };
    assert!(hear("READY=1").contains("STATUS=ap-1 is serving"));
    hear("WATCHDOG=1");
    running.signal(Signal::HUP);
    assert!(hear("RELOADING=1").contains("MONOTONIC_USEC="));
    hear("READY=1");
    running.signal(Signal::TERM);
    hear("STOPPING=1");
    assert_eq!(running.wait().code, 0);
}
