//! The .rpm in the hands of rpm itself. There is no Red Hat here: rpm installs it into the booted machines' Debian, which has
//! systemd and Pgpool's user, and does not ask for the packages that it depends on. No systemd runs there, so each tool that
//! the package's scripts call is the real one, behind a line in a list of calls.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use tempfile::TempDir;

use super::super::machine::{Machine, clean, output};
use super::super::tools;
use super::boot;
use super::packages::{can_make, files_of_ours, make};

/// The tools that the scripts may call. None of them knows the network.
const TOOLS: [&str; 5] = ["getent", "systemctl", "systemd-sysusers", "systemd-tmpfiles", "usermod"];

/// The work of the process that holds it: `$1` is the shared root, `$2` a folder, the rest are tools. The folder is in memory, and
/// nobody outside sees it.
const HOLD: &str = r#"
set -e
shared=$1 own=$2
shift 2
mount -t tmpfs tmpfs "$own"
mkdir "$own/upper" "$own/work" "$own/root"
mount -t overlay overlay -o "lowerdir=$shared,upperdir=$own/upper,workdir=$own/work" "$own/root"
mount -t proc proc "$own/root/proc"
mount -t tmpfs tmpfs "$own/root/run"
mkdir -p "$own/root/run/systemd/system" "$own/root/var/lib/rpm"
for tool in "$@"; do
    file=$own/root$(chroot "$own/root" sh -c "command -v $tool")
    mv "$file" "$file.real"
    printf '#!/bin/sh\necho "%s $*" >>/calls\nexec "$0.real" "$@"\n' "$tool" >"$file"
    chmod 755 "$file"
done
ip link set lo up
ip address add 203.0.113.10/32 dev lo
echo ready
read -r _ || true
"#;

struct Target {
    machine: Machine,
    /// As the machine sees it.
    root: PathBuf,
    _folder: TempDir,
}

impl Target {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut arguments = vec![boot::root(), folder.path().to_owned()];
        arguments.extend(TOOLS.map(PathBuf::from));
        let machine = Machine::hold("rpm", HOLD, &arguments);
        Self { machine, root: folder.path().join("root"), _folder: folder }
    }

    fn rpm(&self, arguments: &[&str]) -> String {
        let mut rpm = self.machine.command("rpm");
        rpm.arg("--root").arg(&self.root).args(["--dbpath", "/var/lib/rpm", "--force-debian"]);
        output(rpm.args(arguments), None)
    }

    fn shell(&self, script: &str) -> String {
        output(self.machine.command("chroot").arg(&self.root).args(["sh", "-c", script]), None)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.machine.path(&format!("{}{path}", self.root.display()))
    }

    /// The calls of tools since this was asked last.
    fn calls(&self) -> Vec<String> {
        let list = self.path("/calls");
        let calls = fs::read_to_string(&list).unwrap_or_default();
        fs::write(list, "").unwrap();
        calls.lines().map(str::to_owned).collect()
    }

    fn files_of_ours(&self) -> Vec<String> {
        let root = self.path("");
        let found = files_of_ours(&root).into_iter();
        found.map(|file| file.strip_prefix(root.to_str().unwrap()).unwrap().to_owned()).collect()
    }

    fn network(&self) -> String {
        self.machine.run("ip address") + &self.machine.run("ip route show table all")
    }
}

fn can_install() -> bool {
    if !can_make() {
        return false;
    }
    let obstacle = match boot::obstacle() {
        None if tools::find("rpm").is_none() => "not installed: rpm".to_owned(),
        None => return true,
        Some(obstacle) => obstacle,
    };
    assert!(std::env::var("CI").is_err(), "CI must install the .rpm: {obstacle}");
    eprintln!("\nskipped: the .rpm, installed; {obstacle}");
    false
}

/// The package, and another of the same contents and a later revision. Made once in a run.
fn made() -> &'static [String; 2] {
    static MADE: OnceLock<[String; 2]> = OnceLock::new();
    MADE.get_or_init(|| ["1", "2"].map(|revision| make("rpm", revision, "022").to_str().unwrap().to_owned()))
}

#[test]
fn an_rpm_is_installed_upgraded_downgraded_and_erased() {
    if !can_install() {
        return;
    }
    let [first, second] = made();
    let target = Target::new();
    let network = target.network();

    target.rpm(&["--install", "--nodeps", first]);
    let always = [
        "systemd-sysusers vipkeeper.conf",
        "getent group postgres",
        "usermod --append --groups postgres vipkeeper",
        "systemd-tmpfiles --create vipkeeper.conf",
        "systemctl daemon-reload",
    ];
    assert_eq!(target.calls(), always);
    assert_eq!(target.rpm(&["--verify", "--nodeps", "vipkeeper"]), "", "rpm sees other files than it brought");
    assert_eq!(target.shell("vipkeeper --version"), concat!("vipkeeper ", env!("CARGO_PKG_VERSION"), "\n"));
    assert_eq!(target.shell("id -nG vipkeeper"), "vipkeeper postgres\n");
    let folders = target.shell("stat --format '%U:%G %a' /run/vipkeeper /run/vipkeeper/desired");
    assert_eq!(folders, "vipkeeper:vipkeeper 755\nvipkeeper:postgres 775\n");

    target.shell("systemctl --quiet enable vipkeeper && echo '# ours' >>/etc/vipkeeper/vipkeeper.toml");
    target.calls();
    let mut on_another_version = always.to_vec();
    // The second reload is that of the version that goes.
    on_another_version.extend(["systemctl try-restart vipkeeper.service", "systemctl daemon-reload"]);
    for (way, package) in [("--upgrade", second), ("--oldpackage", first)] {
        target.rpm(&["--upgrade", way, "--nodeps", package]);
        assert_eq!(target.calls(), on_another_version, "{way}");
        let changed =
            output(target.machine.command("chroot").arg(&target.root).args(["tail", "-n", "1", CONFIG]), None);
        assert_eq!(changed, "# ours\n", "{way}");
        assert!(!target.path("/etc/vipkeeper/vipkeeper.toml.rpmnew").exists(), "{way}");
        assert!(target.path(ENABLED).is_symlink(), "{way}");
    }

    target.rpm(&["--erase", "vipkeeper"]);
    assert_eq!(target.calls(), ["systemctl --no-reload disable --now vipkeeper.service", "systemctl daemon-reload"]);
    let kept = ["/etc/vipkeeper", "/etc/vipkeeper/vipkeeper.toml.rpmsave", "/run/vipkeeper"];
    assert_eq!(target.files_of_ours(), kept, "an erased package leaves the changed configuration and the hooks' files");
    assert_eq!(target.network(), network);
}
const CONFIG: &str = "/etc/vipkeeper/vipkeeper.toml";
const ENABLED: &str = "/etc/systemd/system/multi-user.target.wants/vipkeeper.service";

/// As in the image of a machine that is being made.
#[test]
fn an_rpm_is_installed_and_erased_where_no_systemd_runs() {
    if !can_install() {
        return;
    }
    let target = Target::new();
    let before = target.files_of_ours();
    target.shell("rmdir /run/systemd/system");
    target.rpm(&["--install", "--nodeps", &made()[0]]);
    let calls = target.calls();
    assert_eq!(calls.iter().filter(|call| !call.starts_with("systemd-sysusers ")).count(), 2, "{calls:?}");
    target.shell("systemctl --quiet enable vipkeeper");
    target.rpm(&["--erase", "vipkeeper"]);
    assert_eq!(target.files_of_ours(), before, "an erased package leaves nothing where nothing was changed");
}

#[test]
fn an_rpms_files_scripts_and_needs_are_as_they_are_meant() {
    if !can_install() {
        return;
    }
    let package = &made()[0];
    let ask = |words: &[&str]| output(clean("rpm").arg("--query").args(words).args(["--package", package]), None);
    let format = "[%{FILENAMES} %{FILEMODES:perms} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILEFLAGS:fflags}\n]";
    for file in ask(&["--queryformat", format]).lines() {
        let (path, rest) = file.split_once(' ').unwrap();
        let expected = match path {
            "/usr/bin/vipkeeper" => "-rwxr-xr-x root:root ",
            CONFIG => "-rw-r--r-- root:root cn",
            _ if rest.starts_with('d') => "drwxr-xr-x root:root ",
            _ => "-rw-r--r-- root:root ",
        };
        let is_document = path.starts_with("/usr/share/doc/") && rest.trim_end_matches('d') == expected;
        assert!(rest == expected || is_document, "{file}");
    }

    let scripts = ask(&["--scripts"]).replace("\\\n", " ");
    let lines = scripts.lines().filter(|line| !line.contains("scriptlet"));
    let programs = lines.flat_map(|line| line.split([';', '&', '|'])).filter_map(|command| {
        let word = command.split_whitespace().find(|word| !["do", "if", "then"].contains(word));
        word.filter(|word| !["[", "done", "fi", "for", "true"].contains(word))
    });
    let programs: BTreeSet<_> = programs.collect();
    let mut may_be_called = BTreeSet::from(TOOLS);
    may_be_called.insert("rmdir");
    assert_eq!(programs, may_be_called);

    let needs: BTreeSet<_> = ask(&["--requires"]).lines().map(str::to_owned).collect();
    let by_rpm = output(&mut clean("/usr/lib/rpm/find-requires"), Some(env!("CARGO_BIN_EXE_vipkeeper")));
    let missing: Vec<_> = by_rpm.lines().filter(|need| !needs.contains(*need)).collect();
    assert!(missing.is_empty() && needs.contains("libc.so.6()(64bit)"), "{missing:?} are not among {needs:?}");
}
