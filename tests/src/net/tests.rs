use super::*;

/// Sends 400 numbered datagrams over a stretch of `weather`; what came, in order.
fn sent_over(weather: Weather) -> (Vec<u16>, Counts) {
    let (far, near) = (socket(), socket());
    let stretch = Stretch::to(far.local_addr().unwrap(), 5);
    stretch.set(weather);
    near.connect(stretch.address()).unwrap();
    far.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    // Beside the sender: a socket's own queue holds fewer than these.
    let reader = std::thread::spawn(move || {
        let (mut came, mut datagram) = (Vec::new(), [0; 16]);
        while let Ok(2) = far.recv(&mut datagram) {
            came.push(u16::from_be_bytes([datagram[0], datagram[1]]));
        }
        came
    });
    for number in 0..400u16 {
        near.send(&number.to_be_bytes()).unwrap();
        if number % 20 == 0 {
            std::thread::sleep(Duration::from_millis(3));
        }
    }
    (reader.join().unwrap(), stretch.counts())
}

#[test]
fn good_weather_delivers_everything_in_order() {
    let (came, counts) = sent_over(Weather::default());
    assert_eq!(came, (0..400).collect::<Vec<_>>());
    assert_eq!(counts, Counts { received: 400, ..Counts::default() });
}

#[test]
fn each_kind_of_bad_weather_does_what_it_says() {
    let (came, counts) = sent_over(Weather { lost: 200, ..Weather::default() });
    assert!((40..140).contains(&counts.lost) && came.len() as u64 == 400 - counts.lost, "{counts:?}");
    let (came, counts) = sent_over(Weather { repeated: 200, ..Weather::default() });
    assert!(counts.repeated > 40 && came.len() as u64 == 400 + counts.repeated, "{counts:?}");
    let (came, counts) = sent_over(Weather { reordered: 100, ..Weather::default() });
    assert!(counts.reordered > 15 && !came.is_sorted() && came.len() == 400, "{counts:?}");
    let (came, counts) = sent_over(Weather { damaged: 200, ..Weather::default() });
    let intact = came.iter().enumerate().filter(|(at, number)| *at == usize::from(**number)).count() as u64;
    assert!(counts.damaged > 40 && intact == 400 - counts.damaged, "{counts:?}");
}

#[test]
fn a_slow_stretch_holds_to_its_rate_and_drops_what_its_queue_cannot_hold() {
    let begun = Instant::now();
    let (came, counts) = sent_over(Weather { bits_per_second: Some(4_000), ..Weather::default() });
    // Two bytes at 4,000 bit/s are 4 ms each: 400 take 1.6 s, which the queue holds.
    assert!(came.len() == 400 && begun.elapsed() > Duration::from_millis(1_500), "{counts:?}");
    let (came, counts) = sent_over(Weather { bits_per_second: Some(1_000), ..Weather::default() });
    assert!(counts.overflowed > 200 && came.len() as u64 == 400 - counts.overflowed, "{counts:?}");
}
