//! A slot file of prekeys that was altered on the disk.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use liaison_client::prekeys::slots::{SlotFile, SlotOctets};
use zeroize::Zeroizing;

use super::edit::edited;
use crate::draw::Draw;

/// Windows that have a key in the file.
const STARTS: [u64; 3] = [86_400, 172_800, 259_200];

/// A file in memory.
#[derive(Clone, Default)]
struct Octets(Arc<Mutex<Vec<u8>>>);

impl Octets {
    fn with<T>(&self, work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn open(&self) -> Option<SlotFile> {
        SlotFile::over(Path::new("slots"), Box::new(self.clone())).ok()
    }
}

impl SlotOctets for Octets {
    fn read(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        Ok(Zeroizing::new(self.with(|octets| octets.clone())))
    }

    fn write(&self, offset: u64, written: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        self.with(|octets| {
            octets.resize(octets.len().max(start + written.len()), 0);
            octets[start..start + written.len()].copy_from_slice(written);
        });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// An edited file gives the keys that were written, or none; and it forgets what it is told to.
pub(super) fn altered_slots(script: &[u8]) {
    let octets = Octets::default();
    let mut good = octets.open().expect("a new file");
    good.fill(&STARTS, &mut Draw::new(6)).expect("room");
    octets.with(|octets| *octets = edited(octets, script));
    let Some(mut slots) = octets.open() else { return };
    let starts: Vec<u64> = slots.starts().collect();
    for start in &starts {
        assert!(STARTS.contains(start) && slots.key(*start) == good.key(*start), "a key that nobody wrote: {start}");
    }
    let before = octets.with(|octets| octets.clone());
    slots.erase(&starts).expect("a sound disk");
    let after = octets.open().expect("erasing leaves a slot file");
    assert_eq!(after.starts().count(), 0, "an erased key comes back");
    assert_eq!(octets.with(|octets| octets.len()), before.len(), "a slot file keeps its size");
}
