//! The packages, made by the one command that makes them, of the program that the tests use.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::super::machine::output;
use super::super::tools;

/// The package, and another of the same contents and a later revision.
pub struct Packages {
    pub first: PathBuf,
    pub second: PathBuf,
}

/// Made once in a run.
pub fn packages() -> &'static Packages {
    static MADE: OnceLock<Packages> = OnceLock::new();
    MADE.get_or_init(|| Packages { first: make("deb", "1", "022"), second: make("deb", "2", "022") })
}

/// Two at once would fill the same folder.
static ONE_MAKES_IT: Mutex<()> = Mutex::new(());

pub fn make(kind: &str, revision: &str, umask: &str) -> PathBuf {
    let _alone = ONE_MAKES_IT.lock().unwrap_or_else(PoisonError::into_inner);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut build = Command::new("sh");
    build.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]).arg(root.join("packaging/build"));
    build.args(["--program", env!("CARGO_BIN_EXE_vipkeeper"), "--only", kind, "--revision", revision]);
    let made = output(build.env("CARGO_TARGET_DIR", target), None);
    let is_it = |word: &&str| word.ends_with(&format!(".{kind}")) && word.contains(&format!("-{revision}"));
    let package = made.split_whitespace().find(is_it).map(PathBuf::from);
    package.filter(|file| file.exists()).unwrap_or_else(|| panic!("no package: {made}"))
}

/// Whether packages can be made and looked at here. In CI they must be.
pub fn can_make() -> bool {
    let programs = ["cargo-deb", "cargo-generate-rpm", "lintian", "strip"];
    let missing: Vec<_> = programs.into_iter().filter(|program| tools::find(program).is_none()).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(env::var("CI").is_err(), "CI must make packages; not installed: {missing:?}");
    eprintln!("\nskipped: the packages; not installed: {}", missing.join(", "));
    false
}

#[test]
fn made_twice_a_package_has_the_same_bytes() {
    if !can_make() {
        return;
    }
    for kind in ["deb", "rpm"] {
        let bytes = |umask| fs::read(make(kind, "9", umask)).unwrap();
        assert!(bytes("022") == bytes("077"), "{kind}");
    }
}

#[test]
fn lintian_finds_no_error() {
    if !can_make() {
        return;
    }
    let mut lintian = Command::new("lintian");
    let done = lintian.args(["--allow-root", "--fail-on", "error"]).arg(&packages().first).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
}

/// Every file and folder of a machine with our name in its own, but for those that systemd keeps for itself.
pub fn files_of_ours(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for place in ["etc", "usr", "var/lib"] {
        walk(&root.join(place), &mut found);
    }
    let run = root.join("run/vipkeeper");
    found.extend(run.exists().then(|| run.display().to_string()));
    found
}

fn walk(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().contains("vipkeeper") {
            found.push(path.display().to_string());
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, found);
        }
    }
}
