//! Room in the state folder's file system that is kept for hooks, because Pgpool does not call a failed hook again. The
//! room is a file. Its blocks are taken while plenty are free. The file is removed once next to nothing is free, so
//! that the next writer finds room. The room also serves the claim and the status that the daemon writes after the
//! hook.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;

use crate::machine::hindrance::LITTLE;

const NAME: &str = "reserve";
/// The size of the file in bytes: many times the size of a hook's file, and enough for the status of a hundred VIPs.
const BYTES: u64 = 256 * 1024;
/// If fewer bytes than this are free, keeping room would itself fill the file system.
const AMPLE: u64 = 2 * BYTES;

/// The file, and whether it was left to a hook.
#[derive(Debug)]
pub struct Reserve {
    state_dir: PathBuf,
    path: PathBuf,
    /// Whether the file was left to a hook and not made again since.
    is_left: bool,
}

impl Reserve {
    pub fn new(state_dir: &Path) -> Self {
        Self { state_dir: state_dir.to_owned(), path: state_dir.join(NAME), is_left: false }
    }

    /// Makes the file unless it is there in its full size. The error says why there is no file.
    pub fn keep(&mut self) -> Result<(), String> {
        let is_kept = fs::symlink_metadata(&self.path).is_ok_and(|found| found.is_file() && found.len() == BYTES);
        if !is_kept {
            self.make().map_err(|why| self.missing(&why))?;
        }
        self.is_left = false;
        Ok(())
    }

    /// Removes the file if next to nothing else is free. Returns whether the file was removed.
    pub fn leave(&mut self) -> bool {
        let is_left = self.free().is_ok_and(|free| free < LITTLE) && fs::remove_file(&self.path).is_ok();
        self.is_left |= is_left;
        is_left
    }

    fn make(&self) -> io::Result<()> {
        let free = self.free()?;
        if free < AMPLE {
            return Err(io::Error::other(format!("{} KiB are free, it takes {}", free / 1024, AMPLE / 1024)));
        }
        // Something else may have the file's name, or an earlier file may have only a part of the size.
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(flags).open(&self.path)?;
        let taken = take_blocks(file);
        if taken.is_err() {
            let _ = fs::remove_file(&self.path);
        }
        taken
    }

    /// How many bytes the daemon could still write.
    fn free(&self) -> io::Result<u64> {
        let found = rustix::fs::statvfs(&self.state_dir)?;
        // A tmpfs without a size limit reports zero blocks, total and free.
        let is_limited = found.f_blocks > 0;
        Ok(if is_limited { found.f_bavail.saturating_mul(found.f_frsize) } else { u64::MAX })
    }

    fn missing(&self, why: &io::Error) -> String {
        let folder = self.state_dir.display();
        if self.is_left {
            return format!(
                "the file system of {folder} is full; a hook took the room that was kept for it, and the next one may \
                 find none: free some space there ({why})"
            );
        }
        format!("no room is kept in {folder} for hooks, which fail if its file system becomes full: {why}")
    }
}

/// Gives the file its full length and takes a block for every part of it.
fn take_blocks(mut file: File) -> io::Result<()> {
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, BYTES) {
        // Some file systems cannot take blocks in advance. There the file is filled with zeros.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => io::copy(&mut io::repeat(0).take(BYTES), &mut file).map(drop),
        taken => Ok(taken?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    #[test]
    fn the_blocks_are_taken_and_nobody_else_reads_or_writes_them() {
        let state = tempfile::tempdir().unwrap();
        let mut reserve = Reserve::new(state.path());
        reserve.keep().unwrap();
        let made = fs::metadata(state.path().join(NAME)).unwrap();
        assert!(made.blocks() * 512 >= BYTES, "{} blocks", made.blocks());
        assert_eq!((made.len(), made.mode() & 0o7777), (BYTES, 0o600));
        reserve.keep().unwrap();
        assert_eq!(fs::metadata(state.path().join(NAME)).unwrap().ino(), made.ino(), "it is there already");
        assert!(!reserve.leave(), "there is room without it");
        assert!(state.path().join(NAME).exists());
    }

    #[test]
    fn what_stands_in_its_place_is_replaced_and_not_followed() {
        let state = tempfile::tempdir().unwrap();
        let (path, foreign) = (state.path().join(NAME), state.path().join("foreign"));
        fs::write(&foreign, "keep me").unwrap();
        let mut reserve = Reserve::new(state.path());
        fs::write(&path, "half").unwrap();
        reserve.keep().unwrap();
        fs::remove_file(&path).unwrap();
        symlink(&foreign, &path).unwrap();
        reserve.keep().unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        assert_eq!(fs::read_to_string(&foreign).unwrap(), "keep me");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(reserve.keep().unwrap_err().starts_with("no room is kept in "));
    }
}
