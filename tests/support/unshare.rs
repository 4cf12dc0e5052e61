//! Whether this machine lets tests make namespaces by unshare(1).

use std::process::Command;

/// The reason why `unshare` with these options fails here, in one line.
pub fn obstacle(options: &[&str]) -> Option<String> {
    let said = match Command::new("unshare").args(options).arg("true").output() {
        Ok(done) if done.status.success() => return None,
        Ok(done) => String::from_utf8_lossy(&done.stderr).trim().replace('\n', "; "),
        Err(error) => format!("unshare: {error}"),
    };
    Some(explained(&said))
}

fn explained(said: &str) -> String {
    if said.contains("root filesystem propagation") {
        format!("{said}. This root is no mount point: `mount --bind ROOT ROOT` before `chroot ROOT` makes it one")
    } else {
        said.to_owned()
    }
}

#[test]
fn a_root_that_is_no_mount_point_is_named() {
    let said = "unshare: cannot change root filesystem propagation: Invalid argument";
    assert!(explained(said).starts_with(said) && explained(said).contains("mount --bind"));
    assert_eq!(obstacle(&["--no-such-option"]).map(|said| said.starts_with("unshare: ")), Some(true));
}
