//! Each program that a test starts is there on a bare machine: it is Debian's own smallest system's, or tests/all installs it.

use std::collections::{BTreeMap, BTreeSet};

use super::{read, texts};

/// Packages that the smallest Debian system has (`debootstrap --variant=minbase`).
const BARE: [&str; 7] = ["bash", "coreutils", "diffutils", "grep", "gzip", "mount", "util-linux"];

/// The programs that tests start, and the package that brings each one. Those of a machine that boots systemd come from
/// the packages that tests/machine-root names.
const PROGRAMS: [(&str, &str); 58] = [
    ("aws", "awscli"),
    ("base64", "coreutils"),
    ("bash", "bash"),
    ("cargo-deb", "cargo-deb"),
    ("cargo-generate-rpm", "cargo-generate-rpm"),
    ("cat", "coreutils"),
    ("cc", "gcc"),
    ("cfn-lint", "cfn-lint"),
    ("chmod", "coreutils"),
    ("chown", "coreutils"),
    ("cloudsplaining", "cloudsplaining"),
    ("cmp", "diffutils"),
    ("chroot", "coreutils"),
    ("cp", "coreutils"),
    ("date", "coreutils"),
    ("echo", "coreutils"),
    ("env", "coreutils"),
    ("install", "coreutils"),
    ("ip", "iproute2"),
    ("journalctl", "systemd"),
    ("lintian", "lintian"),
    ("ln", "coreutils"),
    ("mkdir", "coreutils"),
    ("mount", "mount"),
    ("moto_server", "moto[server]"),
    ("mv", "coreutils"),
    ("nft", "nftables"),
    ("node", "nodejs"),
    ("nsenter", "util-linux"),
    ("pgpool", "pgpool2"),
    ("ping", "iputils-ping"),
    ("postgres", "postgresql"),
    ("grep", "grep"),
    ("head", "coreutils"),
    // Of the package python-hcl2.
    ("hcl2tojson", "python-hcl2"),
    ("initdb", "postgresql"),
    ("printf", "coreutils"),
    ("prometheus", "prometheus"),
    ("promtool", "prometheus"),
    ("psql", "postgresql"),
    ("rm", "coreutils"),
    ("rpm", "rpm"),
    ("setpriv", "util-linux"),
    ("setsid", "util-linux"),
    ("sh", "bash"),
    ("shellcheck", "shellcheck"),
    ("sleep", "coreutils"),
    ("strip", "gcc"),
    // A part of it.
    ("sts", "awscli"),
    ("sysctl", "procps"),
    ("systemctl", "systemd"),
    ("systemd-nspawn", "systemd-container"),
    ("test", "coreutils"),
    ("tail", "coreutils"),
    ("touch", "coreutils"),
    ("true", "coreutils"),
    ("umount", "mount"),
    ("unshare", "util-linux"),
];

/// Words of a shell's own, at the beginning of a line.
const SHELL: [&str; 21] = [
    "set", "if", "fi", "for", "done", "while", "do", "then", "else", "shift", "exec", "exit", "read", "until", "case",
    "esac", "trap", "cd", "return", "umask", "wait",
];

/// The programs of one file: those that Rust starts by name, and the first words of the lines of scripts in it.
fn started(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for begin in ["Command::new(\"", "clean(\"", ".command(\"", ".run(\"", ".run(&format!(\"", ".feed(\"", "find(\""] {
        found.extend(text.split(begin).skip(1).filter_map(|rest| rest.split(['"', ' ']).next().map(str::to_owned)));
    }
    for script in text.split("r#\"\n").skip(1).filter_map(|rest| rest.split("\"#").next()) {
        // Some texts are configurations.
        let is_code = |line: &&str| !line.starts_with('#') && line.split_whitespace().nth(1) != Some("=");
        let lines = script.lines().map(str::trim).filter(is_code);
        let mut goes_on = false;
        for line in lines {
            let first = line.split_whitespace().next().filter(|_| !goes_on);
            found.extend(
                first.filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-')).map(str::to_owned),
            );
            goes_on = line.ends_with('\\');
        }
    }
    found.retain(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || "-_".contains(c)));
    found
}

#[test]
fn every_program_that_a_test_starts_is_installed_by_the_test_command() {
    let known = BTreeMap::from(PROGRAMS);
    let sources =
        texts(".rs").into_iter().filter(|(name, _)| name.contains("tests/") && !name.starts_with("tests/tidy"));
    let mut all = BTreeMap::<String, String>::new();
    for (file, text) in sources {
        all.extend(started(&text).into_iter().map(|program| (program, file.clone())));
    }
    assert!(["unshare", "sysctl", "nft", "cc", "mount"].iter().all(|one| all.contains_key(*one)), "{all:?}");
    let unknown: Vec<_> = all
        .iter()
        .filter(|(program, _)| !known.contains_key(program.as_str()) && !SHELL.contains(&program.as_str()))
        .collect();
    assert!(unknown.is_empty(), "tests start these, and no package is named for them: {unknown:?}");

    let installs = |script: &str| -> BTreeSet<String> {
        read(script).split([' ', '\n', ',', '"', '=']).map(str::to_owned).collect()
    };
    let (by_all, in_machines) = (installs("tests/all"), installs("tests/machine-root"));
    for (program, package) in PROGRAMS {
        let is_there = BARE.contains(&package) || by_all.contains(package) || in_machines.contains(package);
        assert!(is_there, "{program} is {package}'s, which tests/all does not install");
    }
}

#[test]
fn programs_are_found_in_calls_and_in_scripts() {
    let text = "Command::new(\"one\").run(\"two --three\"); r#\"\nset -e\nfour | five \\\n    six\nif seven\n\"#";
    let found: Vec<_> = started(text).into_iter().collect();
    assert_eq!(found, ["four", "if", "one", "set", "two"]);
}
