//! The files of the state folder as an upgrade, a downgrade, a crash or a person may leave them: absent, written by an older
//! or a newer program, garbage, unreadable. Whatever a restarted daemon finds there, in whatever phase of a claim, the
//! restart moves nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use vipkeeper::decide::memory::Persisted;
use vipkeeper::desired;
use vipkeeper::desired::hold::InForce;
use vipkeeper::desired::source::Reading;
use vipkeeper::machine::clock::{Clocks, Discipline, boot_id};
use vipkeeper::machine::trust::TrustedOwners;
use vipkeeper::observe::seen::Now;
use vipkeeper::state_dir::Machine;
use vipkeeper::state_dir::files::Files;
use vipkeeper::wake::{self, GuardWatch};

use crate::support::computer::Computer;
use crate::world::*;

/// A machine with the simulated clock and real files.
struct OnDisk {
    files: Files,
    computer: Computer,
}

impl Machine for OnDisk {
    fn desired(&mut self, vip: IpAddr) -> Reading {
        self.files.desired(vip)
    }

    fn hold(&self, vip: IpAddr) -> Result<Option<InForce>, String> {
        self.files.hold(vip)
    }

    fn keep_only(&mut self, vips: &BTreeSet<IpAddr>) {
        self.files.keep_only(vips);
    }

    fn load(&self, vip: IpAddr) -> Option<Persisted> {
        self.files.load(vip)
    }

    fn save(&self, vip: IpAddr, persisted: &Persisted) -> Result<(), String> {
        self.files.save(vip, persisted)
    }

    fn keep_room(&mut self) -> Result<(), String> {
        self.files.keep_room()
    }

    fn make_room(&mut self) -> bool {
        self.files.make_room()
    }

    fn clock_discipline(&self) -> Option<Discipline> {
        None
    }

    fn now(&self) -> Now {
        self.computer.now()
    }
}

/// The condition in which the next daemon finds a file.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Found {
    Intact,
    Absent,
    /// Without the fields that later programs added.
    Old,
    /// In the next version of its format.
    New,
    Garbage,
    Empty,
    /// Cut off in the middle.
    Half,
    /// A folder is in its place, so that not even root can read it.
    Unreadable,
}

impl Found {
    const DAMAGED: [Self; 7] =
        [Self::Absent, Self::Old, Self::New, Self::Garbage, Self::Empty, Self::Half, Self::Unreadable];

    fn leave(self, path: &Path) {
        let Ok(text) = fs::read(path) else { return };
        let edited = |edit: fn(&mut serde_json::Map<String, Value>)| {
            // The room for hooks has no format.
            let Ok(mut document) = serde_json::from_slice::<Value>(&text) else { return };
            edit(document.as_object_mut().unwrap());
            fs::write(path, document.to_string()).unwrap();
        };
        match self {
            Self::Intact => {}
            Self::Absent => fs::remove_file(path).unwrap(),
            Self::Old => edited(|fields| {
                // The format of a desired-state file has had this field from the beginning.
                if fields.contains_key("applied") {
                    fields.remove("boot_id");
                }
                let later = [
                    "started_boot_ms",
                    "pid_namespace",
                    "recorded",
                    "converged_ms",
                    "was_held",
                    "on_watchdogs_word",
                    "written_boottime_ns",
                    "term_mended",
                    "seen_given_up",
                    "gone",
                    "led",
                    "keeping",
                    "superseded_on",
                ];
                for field in later {
                    fields.remove(field);
                }
            }),
            Self::New => edited(|fields| {
                fields.insert("version".to_owned(), json!(2));
                fields.insert("term".to_owned(), json!({"is": "something else"}));
            }),
            Self::Garbage => fs::write(path, b"\0\xff{[garbage").unwrap(),
            Self::Empty => fs::write(path, b"").unwrap(),
            Self::Half => fs::write(path, &text[..text.len() / 2]).unwrap(),
            Self::Unreadable => {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            }
        }
    }
}

/// The phase of the first node's claim at the restart.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    BeforeTheFirst,
    Taking,
    JustTaken,
    Held,
    Superseded,
    Down,
    Releasing,
}

impl Phase {
    const ALL: [Self; 7] = [
        Self::BeforeTheFirst,
        Self::Taking,
        Self::JustTaken,
        Self::Held,
        Self::Superseded,
        Self::Down,
        Self::Releasing,
    ];
}

struct Stage {
    world: World,
    state: TempDir,
}

impl Stage {
    fn new() -> Self {
        let world = World::new(2, |estate| {
            estate.allocate(EIP);
            let tables = estate.add_tables(1);
            config(vec![vip(vec![by_elastic_ip(EIP), by_route(ADDRESS, &tables)])])
        });
        let state = tempfile::tempdir().unwrap();
        fs::create_dir(desired::folder(state.path())).unwrap();
        Self { world, state }
    }

    fn vip(&self) -> IpAddr {
        self.world.nodes[0].config.borrow().as_ref().unwrap().vips[0].delegate_ip
    }

    /// The paths of the files whose contents a daemon of this VIP reads.
    fn files(&self) -> Vec<PathBuf> {
        let of_vip = |folder: &str| self.state.path().join(folder).join(format!("{}.json", self.vip()));
        vec![of_vip("desired"), of_vip("claims"), of_vip("newest"), self.state.path().join("reserve")]
    }

    fn start(&mut self) {
        let trusted = TrustedOwners::root().with_uid(rustix::process::geteuid().as_raw());
        let guards = GuardWatch::new(wake::channel().0);
        let files = Files::new(self.state.path(), trusted, Some(guards)).unwrap();
        let node = &mut self.world.nodes[0];
        let computer = node.computer.clone();
        node.start_on(OnDisk { files, computer });
    }

    /// A hook of the first node runs, and its file is on the disk. The file names no guard, because the simulated watchdog
    /// is no process that could be watched.
    fn hook(&self, run: impl FnOnce(&World, &str)) {
        let vip = self.vip();
        run(&self.world, &vip.to_string());
        let mut file = self.world.nodes[0].computer.file(vip).unwrap();
        file.boot_id = boot_id().unwrap();
        fs::write(&self.files()[0], serde_json::to_vec(&file.with_guard(None)).unwrap()).unwrap();
    }

    /// Brings the first node's claim into this phase. The second node led before, and its clock was ahead, so that the
    /// first one's term was raised.
    async fn reach(&mut self, phase: Phase) {
        self.world.nodes[1].computer.set_skew_ms(4_000);
        self.start();
        self.world.nodes[1].start();
        pass(seconds(1)).await;
        let vip = self.vip().to_string();
        self.world.up(1, &vip);
        pass(seconds(2)).await;
        if phase == Phase::BeforeTheFirst {
            return;
        }
        self.world.down(1, &vip);
        let hold = |operation: &str| {
            let name = &self.world.nodes[0].place.name;
            self.world.estate.fault(Fault::new(FaultKind::Throttle).at(operation).of_caller(name))
        };
        let taking = (phase == Phase::Taking).then(|| hold("AssociateAddress"));
        let releasing = (phase == Phase::Releasing).then(|| hold("DisassociateAddress"));
        self.hook(|world, vip| world.up(0, vip));
        pass(if phase == Phase::JustTaken { millis(300) } else { seconds(12) }).await;
        match phase {
            Phase::Superseded => self.world.up(1, &vip),
            Phase::Down => {
                self.hook(|world, vip| world.down(0, vip));
                self.world.up(1, &vip);
            }
            Phase::Releasing => self.hook(|world, vip| world.down(0, vip)),
            _ => {}
        }
        pass(if phase == Phase::JustTaken { Duration::ZERO } else { seconds(8) }).await;
        self.world.nodes[0].kill().await;
        for fault in taking.into_iter().chain(releasing) {
            self.world.estate.mend(fault);
        }
    }

    fn place(&self) -> (Option<String>, Option<String>, bool) {
        let table = &tables(&self.world)[0];
        let route = self.world.estate.route(table, ADDRESS);
        (self.world.estate.elastic_ip(EIP), route, self.world.nodes[0].has_local(ADDRESS))
    }
}

async fn restarted(phase: Phase, file: usize, found: Found) {
    let mut stage = Stage::new();
    stage.reach(phase).await;
    stage.world.nodes[0].kill().await;
    let case = format!("{phase:?}, {:?} {found:?}", stage.files()[file]);
    found.leave(&stage.files()[file]);
    let before = stage.place();
    let mark = stage.world.mark();
    stage.start();
    let mut had_local = true;
    for _ in 0..60 {
        pass(millis(500)).await;
        had_local &= stage.place().2;
    }
    let changes = stage.world.writes(mark).into_iter().map(|(_, name)| name);
    let changes: BTreeSet<_> = changes.filter(|name| *name != "CreateTags").collect();
    let after = stage.place();
    let is_lost = file == 0 && !matches!(found, Found::Intact | Found::Old);
    match phase {
        // The daemon does the changes that were wanted before the restart and still are. It leaves alone what it does not
        // know any more.
        Phase::Taking if !is_lost => {
            assert!(changes.iter().all(|name| *name == "AssociateAddress"), "{case}: {changes:?}");
            assert_eq!(after.0, stage.world.eni(0), "{case}");
        }
        Phase::Releasing if !is_lost => {
            assert_eq!(changes, BTreeSet::from(["DisassociateAddress"]), "{case}");
            assert_eq!(after.0, None, "{case}");
        }
        _ => {
            assert_eq!(changes, BTreeSet::new(), "{case}");
            assert_eq!(after, before, "{case}");
        }
    }
    if matches!(phase, Phase::Taking | Phase::JustTaken | Phase::Held) {
        assert!(had_local, "{case}: the local address was gone for a while");
    }
}

#[test]
fn whatever_a_restart_finds_in_the_state_folder_it_moves_nothing() {
    for phase in Phase::ALL {
        for file in 0..4 {
            for found in Found::DAMAGED {
                in_paused_time(restarted(phase, file, found));
            }
        }
        in_paused_time(restarted(phase, 0, Found::Intact));
    }
}

/// The first looks after a restart may be older than the claim that the node served before.
#[test]
fn a_restart_that_remembers_nothing_gives_nothing_up_on_old_looks() {
    for stale_ms in (200..4_800).step_by(200) {
        in_paused_time(async move {
            let mut stage = Stage::new();
            stage.reach(Phase::JustTaken).await;
            Found::Absent.leave(&stage.files()[1]);
            stage.world.estate.fault(Fault::new(FaultKind::Stale { up_to: millis(stale_ms) }));
            let mark = stage.world.mark();
            stage.start();
            for _ in 0..200 {
                pass(millis(100)).await;
                assert!(stage.world.nodes[0].has_local(ADDRESS), "{stale_ms} ms");
            }
            let moved = stage.world.writes(mark).into_iter().filter(|(_, name)| name.starts_with("Disassociate"));
            assert_eq!(moved.count(), 0, "{stale_ms} ms");
            assert_eq!(stage.world.estate.elastic_ip(EIP), stage.world.eni(0), "{stale_ms} ms");
        });
    }
}

#[test]
fn a_claim_of_another_boot_is_not_remembered_and_one_of_an_older_program_is_if_it_was_written_since_the_boot() {
    let state = tempfile::tempdir().unwrap();
    let trusted = TrustedOwners::root().with_uid(rustix::process::geteuid().as_raw());
    let files = Files::new(state.path(), trusted, None).unwrap();
    let text = r#"{"version":1,"claim":"c1","started_ms":7,"term":8,"applied":[]}"#;
    let persisted: Persisted = serde_json::from_str(text).unwrap();
    files.save(ip(EIP), &persisted).unwrap();
    assert_eq!(files.load(ip(EIP)), Some(persisted.clone()));
    let path = state.path().join("claims").join(format!("{EIP}.json"));
    let mut stored: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    stored["boot_id"] = json!("another boot");
    fs::write(&path, stored.to_string()).unwrap();
    assert_eq!(files.load(ip(EIP)), None);
    stored.as_object_mut().unwrap().remove("boot_id");
    fs::write(&path, stored.to_string()).unwrap();
    assert_eq!(files.load(ip(EIP)), Some(persisted));
    let booted = Clocks::now().booted_at();
    fs::File::options().write(true).open(&path).unwrap().set_modified(booted - seconds(60)).unwrap();
    assert_eq!(files.load(ip(EIP)), None, "nothing tells that it is of this boot");
}
