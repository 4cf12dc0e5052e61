//! Mistakes in the configuration, as their writer sees them: each file, and stderr and the exit status of the program that
//! was started with it. Such a program has no page, no log and no metrics yet.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use super::{golden, text};

const MINIMAL: &str = "[[vip]]\ndelegate_ip = \"20.0.0.50\"\n[vip.route]\ntables = [\"rtb-1\"]\n";

/// The files of one kind of mistake.
struct Kind {
    name: &'static str,
    files: &'static [&'static str],
}

const KINDS: [Kind; 5] = [
    Kind {
        name: "config-without-quotes",
        files: &[
            "[[vip]]\ndelegate_ip = 203.0.113.10\n[vip.elastic_ip]\nprivate_ip = 10.0.1.9\n",
            "[[vip]]\ndelegate_ip = 203.0.113.10/32\n[vip.elastic_ip]\nallocation_id = eipalloc-0123\n",
            "[[vip]]\ndelegate_ip = 2001:db8::10\n[vip.route]\ntables = [rtb-1, 'rtb-2', rtb-3]\non_release = keep\n",
            "[[vip]]\ndelegate_ip = '20.0.0.50'\n[vip.route]\ntables = [ # those with clients\n  rtb-1, # private a\n  \
             # private b\n  rtb-2\n]\n",
            "[[vip]]\ndelegate_ip = '20.0.0.50'\n[vip.route]\ntables = rtb-1\n",
            "[[vip]]\ndelegate_ip = '20.0.0.50'\n[vip.route]\ntable_tags = { Name = private }\n",
            "state_dir = /run/vipkeeper\n[aws]\nregion = eu-central-1\nendpoint_url = https://ec2.example\n[metrics]\n\
             listen = 127.0.0.1:9813\n",
            "[intervals]\nleader = 10s\nstandby = 30 s # half a minute\n",
            "[identity]\ninstance_id = i-0123\ninterfaces = { eth0 = eni-0123 }\n",
            "[metrics]\nenabled = True\n[claims]\nmode = off\n[aws]\nuse_fips = yes\n",
        ],
    },
    Kind {
        name: "config-slips",
        files: &[
            "[[vip]]\ndelegate_ip = “20.0.0.50”\n[vip.route]\ntables = [‘rtb-1’]\n",
            "[[vip]]\ndelegate_ip = '20.0.0.50\"\n",
            "[[vip]]\ndelegate_ip =\n",
            "[[vip]]\ndelegate_ip: \"20.0.0.50\"\n",
            "; our cluster\n[[vip]]\ndelegate_ip = \"20.0.0.50\"\n",
            "// our cluster\n[[vip]]\ndelegate_ip = \"20.0.0.50\"\n",
            "[[vip]]\ndelegate_ip \"20.0.0.50\"\n[vip.route]\ntables = [\"rtb-1\" \"rtb-2\"]\n",
            "[[vip]\ndelegate_ip = \"20.0.0.50\"\n",
        ],
    },
    Kind {
        name: "config-twice",
        files: &[
            "[[vip]]\ndelegate_ip = \"20.0.0.50\"\ndelegate_ip = \"20.0.0.51\"\n",
            "[[vip]]\ndelegate_ip = \"20.0.0.50\"\n[vip.route]\ntables = [\"rtb-1\"]\n[vip.route]\ntables = [\"rtb-2\"]\n",
            "[metrics]\n[aws]\n[metrics]\nenabled = false\n",
            "[[vip]]\ndelegate_ip = \"10.0.1.50\"\n[vip.secondary_ip]\n[[vip]]\ndelegate_ip = \"10.0.1.50\"\n\
             [vip.secondary_ip]\n",
        ],
    },
    Kind {
        name: "config-wrong-type",
        files: &[
            "[intervals]\nleader = 10\n[limits]\nrequests_per_s = \"five\"\nburst = 20.5\n[metrics]\nlisten = 9813\n\
             [[vip]]\ndelegate_ip = 20.0\n[vip.route]\ntables = \"rtb-1\"\n",
            "[[vip]]\ndelegate_ip = [\"203.0.113.10\"]\nelastic_ip = true\n",
            "[vip]\ndelegate_ip = \"20.0.0.50\"\n",
            "[[vip]]\ndelegate_ip = \"20.0.0.050\"\n[vip.route]\ntables = [\"RTB-1\", \" rtb-2\", \"subnet-1\"]\n\
             on_release = \"Keep\"\n",
        ],
    },
    Kind {
        name: "config-wrong-table",
        files: &[
            "[[vip]]\ndelegate_ip = \"20.0.0.50\"\n[route]\ntables = [\"rtb-1\"]\n",
            "[[vip]]\ndelegate_ip = \"20.0.0.50\"\ntables = [\"rtb-1\"]\n",
            "[[vip]]\n[vip.route]\ntables = [\"rtb-1\"]\ndelegate_ip = \"20.0.0.50\"\nstate_dir = \"/run/vipkeeper\"\n",
            "[[vip]]\ndelegate_ip = \"10.0.1.50\"\n[vip.secondary_ip]\n[vip.metrics]\nlisten = \"0.0.0.0:9813\"\n",
            "region = \"eu-central-1\"\nleader = \"10s\"\nzebra = 1\nhook_user = [\"postgres\"]\n[[vip]]\n\
             delegate_ip = \"10.0.1.50\"\n[vip.secondary_ip]\n",
        ],
    },
];

/// Values of one variable, with a configuration that is good.
const VARIABLES: [(&str, &str); 10] = [
    ("AWS_REGION", " "),
    ("AWS_REGION", "eu-west-1 "),
    ("AWS_REGION", "eu-west-1a"),
    ("AWS_REGION", "us-west-2-lax-1a"),
    ("AWS_REGION", "EU-WEST-1"),
    ("AWS_REGION", "Frankfurt"),
    ("AWS_DEFAULT_REGION", "eu-west-1\n"),
    ("VIPKEEPER_AWS__REGION", "\"eu-west-1\""),
    ("VIPKEEPER_HOOK_USERS", "[postgres]"),
    ("VIPKEEPER_VIP", "[{ delegate_ip = 20.0.0.51, secondary_ip = {} }]"),
];

/// Stderr and the exit status of the daemon with this configuration and these variables.
fn told(content: &str, variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vipkeeper.toml");
    fs::write(&path, content).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vipkeeper"));
    let output = command.env_clear().envs(variables.iter().copied()).args(["--config"]).arg(&path).arg("run").output();
    let output = output.unwrap();
    assert_eq!(text(output.stdout), "", "stdout stays empty");
    let said = text(output.stderr).replace(&format!("{}/", folder.path().display()), "");
    format!("== stderr\n{said}== exit status\n{}\n", output.status.code().unwrap())
}

#[test]
fn each_mistake_in_the_file_is_told_with_its_line_and_its_cure() {
    for kind in KINDS {
        let mut all = String::new();
        for file in kind.files {
            writeln!(all, "== configuration\n{file}{}", told(file, &[])).unwrap();
        }
        golden::check(&format!("situations/{}.txt", kind.name), &all);
    }
}

#[test]
fn each_mistake_in_a_variable_is_told_with_its_name_and_its_cure() {
    let mut all = String::new();
    for (name, value) in VARIABLES {
        writeln!(all, "== variable\n{name}={value:?}\n{}", told(MINIMAL, &[(name, value)])).unwrap();
    }
    golden::check("situations/config-variables.txt", &all);
}
