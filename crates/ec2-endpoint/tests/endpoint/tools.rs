//! Programs that some tests need, and what to do without them.

use std::{
    io::ErrorKind,
    process::{Command, Stdio},
};

/// Whether a program can be run. If not, says what is skipped; where everything must be tested (`CI=true`), fails.
///
/// `probe` is an argument with which the program does nothing and ends well: a shim of a version manager can be found and
/// still have nothing behind it.
pub fn is_there(program: &str, probe: &str, skipped: &str) -> bool {
    let found = Command::new(program).arg(probe).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match found {
        Ok(status) if status.success() => return true,
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{program}: {error}"),
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{program} is missing");
    eprintln!("skipped for want of {program}: {skipped}");
    false
}
