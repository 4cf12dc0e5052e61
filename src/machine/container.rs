//! Tells whether this process likely runs in a container. A hop limit of 1 keeps only containers away from the metadata
//! service. Advice about the hop limit would mislead everywhere else.

use std::path::Path;

/// The files that container programs make in a container: Docker's, Podman's, and the one that systemd's container
/// interface asks for.
const MARKS: [&str; 3] = ["/.dockerenv", "/run/.containerenv", "/run/systemd/container"];
/// The folder that Kubernetes mounts into each pod.
const POD: &str = "/var/run/secrets/kubernetes.io";
/// The words by which the first process's control group shows a container. The second version of control groups hides
/// them from most containers.
const GROUPS: [&str; 4] = ["docker", "kubepods", "containerd", "libpod"];

/// Whether this process likely runs in a container.
#[must_use]
pub fn is_likely() -> bool {
    is_likely_by(&|path| Path::new(path).exists(), &std::fs::read_to_string("/proc/1/cgroup").unwrap_or_default())
}

fn is_likely_by(exists: &dyn Fn(&str) -> bool, cgroup: &str) -> bool {
    MARKS.iter().any(|mark| exists(mark)) || exists(POD) || GROUPS.iter().any(|group| cgroup.contains(group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_known_by_its_marks_and_a_machine_has_none() {
        let nothing = |_: &str| false;
        for mark in MARKS.iter().chain([&POD]) {
            assert!(is_likely_by(&|path| path == *mark, "0::/\n"), "{mark}");
        }
        assert!(is_likely_by(&nothing, "12:cpu:/kubepods/besteffort/pod1/2\n"));
        assert!(!is_likely_by(&nothing, "0::/init.scope\n"));
        assert!(!is_likely_by(&nothing, ""));
    }
}
