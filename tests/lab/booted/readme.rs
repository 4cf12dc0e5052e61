//! The README's own lines, in English or in Japanese: what an operator is told to type is what the test types.

use std::fs;
use std::path::Path;

use ec2_endpoint::account::model::Permission;

use super::super::vpc::Method;

/// The language of the page that the operator has. Nothing is read from the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    English,
    Japanese,
}

/// A section that an operator goes through, from nothing to a failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Install,
    ElasticIp,
    RouteTables,
    Check,
    Proof,
}

impl Section {
    /// The section about one of the guide's methods.
    pub fn of(method: Method) -> Self {
        match method {
            Method::ElasticIp => Self::ElasticIp,
            Method::Route => Self::RouteTables,
            Method::SecondaryIp => panic!("no machine boots for a secondary IP, which the guide does not have"),
        }
    }

    fn heading(self, language: Language) -> &'static str {
        let (english, japanese) = match self {
            Self::Install => ("Install", "インストール"),
            Self::ElasticIp => ("The guide's first method: Elastic IP", "ガイドの第一の方法：Elastic IP"),
            Self::RouteTables => ("The guide's second method: route tables", "ガイドの第二の方法：ルートテーブル"),
            Self::Check => ("Before going live: check", "本番稼働の前に：検査"),
            Self::Proof => ("Prove it", "確かめる"),
        };
        match language {
            Language::English => english,
            Language::Japanese => japanese,
        }
    }
}

pub struct Readme {
    language: Language,
    text: String,
}

impl Readme {
    pub fn read(language: Language) -> Self {
        let name = match language {
            Language::English => "README.md",
            Language::Japanese => "README.ja.md",
        };
        Self { language, text: fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap() }
    }

    pub fn language(&self) -> Language {
        self.language
    }

    fn section(&self, section: Section) -> &str {
        let heading = section.heading(self.language);
        let (_, rest) = self.text.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
        rest.split_once("\n## ").map_or(rest, |(section, _)| section)
    }

    /// The lines of a section that are shown as code by four spaces, without these and without comments.
    fn code(&self, section: Section) -> impl Iterator<Item = &str> {
        let lines = self.section(section).lines().filter_map(|line| line.strip_prefix("    "));
        lines.map(|line| line.split_once("  #").map_or(line, |(line, _)| line).trim_end())
    }

    /// The one command of a section that begins so; without a leading `# or:`.
    pub fn command(&self, section: Section, begin: &str) -> String {
        let lines = self.code(section).map(|line| line.strip_prefix("# or: ").unwrap_or(line));
        let found: Vec<_> = lines.filter(|line| line.starts_with(begin)).collect();
        let first = found.first().unwrap_or_else(|| panic!("{section:?} has no {begin:?}"));
        assert!(found.iter().all(|line| line == first), "{section:?}: {found:?}");
        (*first).to_owned()
    }

    /// The one command of a section's text, in backticks, that begins so.
    pub fn quoted(&self, section: Section, begin: &str) -> String {
        let found: Vec<_> = self.section(section).split('`').filter(|part| part.starts_with(begin)).collect();
        assert_eq!(found.len(), 1, "{section:?}: {begin}: {found:?}");
        found[0].to_owned()
    }

    /// The configuration in the section of a method.
    pub fn configuration(&self, section: Section) -> String {
        let (_, rest) = self.section(section).split_once("```toml\n").expect("each method has a configuration");
        rest.split_once("```").unwrap().0.to_owned()
    }

    /// The rules that the method's section adds to the security group of the nodes, which is `group` here. They are read and not
    /// typed, because the endpoint does not have that call.
    pub fn permissions(&self, section: Section, group: &str) -> Vec<Permission> {
        let shown = self.command(section, "SG=");
        let lines = self.code(section).filter(|line| line.starts_with("aws ec2 authorize-security-group-ingress "));
        let permission = |line: &str| {
            let line =
                shown.split(' ').filter_map(|one| one.split_once('=')).fold(line.to_owned(), |line, (name, value)| {
                    line.replace(&format!("${name}"), if name == "SG" { group } else { value })
                });
            let words: Vec<_> = line.split_whitespace().collect();
            let option = |name: &str| words.windows(2).find(|pair| pair[0] == name).map(|pair| pair[1].to_owned());
            assert_eq!(option("--group-id").as_deref(), Some(group), "{line}");
            let port = option("--port").unwrap().parse().unwrap();
            Permission {
                protocol: option("--protocol").unwrap(),
                ports: Some((port, port)),
                ranges: option("--cidr").map(|range| range.parse().unwrap()).into_iter().collect(),
                groups: option("--source-group").into_iter().collect(),
            }
        };
        lines.map(permission).collect()
    }

    /// The lines of pgpool.conf, as Pgpool-II 4.3 spells them and for this address.
    pub fn pgpool_conf(&self, delegate_ip: &str) -> String {
        let keys = ["delegate_ip", "if_up_cmd", "if_down_cmd", "arping_cmd"];
        let lines = self.code(Section::Install).filter(|line| keys.iter().any(|key| line.starts_with(key)));
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines.len(), keys.len(), "{lines:?}");
        let (key, shown) = lines[0].split_once("= ").unwrap();
        let spelled = match self.language {
            Language::English => "4.3 the first is spelled `delegate_IP`",
            Language::Japanese => "Pgpool-II 4.3までは、最初のパラメーターの名前は`delegate_IP`です",
        };
        assert!(self.section(Section::Install).contains(spelled), "{spelled}");
        assert!(key.trim() == "delegate_ip" && shown.starts_with('\''), "{}", lines[0]);
        let first = format!("delegate_IP = '{delegate_ip}'");
        format!("{first}\n{}\n", lines[1..].join("\n"))
    }
}

#[test]
fn lines_are_found_and_comments_are_not() {
    let text = "# a\n\n## Install\n\ntext\n\n    run this   # why\n    # or: run that\n\n## Prove it\n\n    run more\n";
    let readme = Readme { language: Language::English, text: text.to_owned() };
    assert_eq!(readme.command(Section::Install, "run this"), "run this");
    assert_eq!(readme.command(Section::Install, "run that"), "run that");
    assert_eq!(readme.command(Section::Proof, "run"), "run more");
}

/// A machine is booted for each page in the full set alone, so that both pages are read here in each run.
#[test]
fn each_page_has_every_line_of_an_operators_day() {
    let typed = |language| {
        let readme = Readme::read(language);
        let begins = [
            (Section::Install, "sudo apt install"),
            (Section::Install, "vipkeeper plan"),
            (Section::Install, "sudo systemctl enable"),
            (Section::Install, "vipkeeper status"),
            (Section::Install, "sudo systemctl restart pgpool2"),
            (Section::Check, "sudo vipkeeper check"),
            (Section::Proof, "psql -h"),
            (Section::Proof, "aws ec2 delete-route"),
            (Section::Proof, "aws ec2 disassociate-address"),
        ];
        let mut lines: Vec<_> = begins.map(|(section, begin)| readme.command(section, begin)).into();
        lines.extend(["stop", "restart"].map(|what| readme.quoted(Section::Proof, &format!("sudo systemctl {what}"))));
        lines.extend([Section::ElasticIp, Section::RouteTables].map(|section| readme.configuration(section)));
        lines.push(readme.pgpool_conf("20.0.0.50"));
        for (section, rules) in [(Section::ElasticIp, 5), (Section::RouteTables, 4)] {
            let permissions = readme.permissions(section, "sg-1");
            assert_eq!(permissions.len(), rules, "{permissions:?}");
            lines.push(format!("{permissions:?}"));
        }
        lines
    };
    assert_eq!(typed(Language::English), typed(Language::Japanese));
}
