//! Programs that these tests start: from the folder that tests/all installs them in, or else from the path.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The search path with the folder of the test command in front.
pub fn path() -> OsString {
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools");
    let own = ["python/bin", "judges/bin", "bin"].map(|folder| tools.join(folder));
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths(own.into_iter().chain(env::split_paths(&path))).unwrap()
}

/// Whether a program works here. Where it does not, the test says what it skips; in CI it fails.
pub fn is_there(mut probe: Command, program: &str, skipped: &str) -> bool {
    let done = probe.env("PATH", path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if done.is_ok_and(|status| status.success()) {
        return true;
    }
    assert_ne!(env::var("CI").as_deref(), Ok("true"), "CI must run this test: {program} is missing");
    eprintln!("skipped for want of {program}: {skipped}");
    false
}

/// Everything that a program said, which must have ended well.
#[track_caller]
pub fn said(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.env("PATH", path()).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {status}\n{text}");
    text
}
