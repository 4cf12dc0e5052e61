//! The effects that a write has on the file system, one after another. In the program this module does nothing. In the
//! library's own tests a process can die before and after each effect.

/// Carries out one effect.
#[cfg(not(test))]
pub(crate) fn effect<T>(_name: &'static str, carry_out: impl FnOnce() -> T) -> T {
    carry_out()
}

#[cfg(test)]
pub(crate) use self::deadly::{dies, effect, folder_of_child};

#[cfg(test)]
mod deadly {
    use std::os::unix::process::ExitStatusExt;
    use std::path::Path;
    use std::process::{Command, abort};
    use std::sync::atomic::{AtomicU32, Ordering};

    /// The number of the point at which this process dies, and the number of points passed so far.
    static DIES_AT: AtomicU32 = AtomicU32::new(0);
    static PASSED: AtomicU32 = AtomicU32::new(0);

    const POINT: &str = "VIPKEEPER_TEST_DIES_AT";
    const FOLDER: &str = "VIPKEEPER_TEST_FOLDER";

    pub(crate) fn effect<T>(name: &'static str, carry_out: impl FnOnce() -> T) -> T {
        point("before", name);
        let done = carry_out();
        point("after", name);
        done
    }

    /// An abort runs no destructor, as `kill -9`.
    #[expect(clippy::print_stderr, reason = "the parent shows it")]
    fn point(when: &str, name: &str) {
        let at = DIES_AT.load(Ordering::Relaxed);
        if at > 0 && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == at {
            eprintln!("point {at}: {when} {name}");
            abort();
        }
    }

    /// Runs the ignored test `child` in a process of its own, which dies at each point in turn, until it passes all
    /// points alive. After each death, and at the end, `check` looks at the folder. Returns the number of points.
    #[expect(clippy::print_stdout, reason = "the number of points is a result of the test")]
    pub(crate) fn dies(child: &str, prepare: impl Fn(&Path), check: impl Fn(&Path, u32)) -> u32 {
        for at in 1.. {
            let folder = tempfile::tempdir().unwrap();
            prepare(folder.path());
            let program = std::env::current_exe().unwrap();
            let mut command = Command::new(program);
            command.args(["--exact", child, "--ignored", "--nocapture", "--test-threads=1"]);
            let output = command.env(POINT, at.to_string()).env(FOLDER, folder.path()).output().unwrap();
            check(folder.path(), at);
            if output.status.success() {
                let ran = String::from_utf8_lossy(&output.stdout).contains("1 passed");
                assert!(ran, "{child} is no test");
                println!("{child}: {} points", at - 1);
                return at - 1;
            }
            let told = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.signal(), Some(6), "it dies by its own hand: {told}");
            assert!(told.contains(&format!("point {at}: ")), "{told}");
        }
        unreachable!("the loop ends with a child that lives")
    }

    /// The folder of a child that is to die. `None` if somebody runs the child as an ordinary test.
    #[expect(clippy::disallowed_methods, reason = "the parent tells the child by its environment")]
    pub(crate) fn folder_of_child() -> Option<std::path::PathBuf> {
        let at = std::env::var(POINT).ok()?.parse().ok()?;
        let folder = std::env::var_os(FOLDER)?;
        DIES_AT.store(at, Ordering::Relaxed);
        Some(folder.into())
    }
}
