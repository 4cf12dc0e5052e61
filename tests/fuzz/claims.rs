//! The file in which a daemon keeps what it remembers of a claim. Another program, a copied disk or a person may have
//! written it.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use vipkeeper::binding::{Binding, BindingKey, ClaimMode, Handover, Kind, Vip};
use vipkeeper::decide::Decider;
use vipkeeper::decide::memory::Persisted;
use vipkeeper::decide::plan::Plan;
use vipkeeper::desired::{Claim, Desired, WhyStandby, WhyUnknown};
use vipkeeper::ids::{ClaimId, Term};
use vipkeeper::machine::clock;
use vipkeeper::machine::trust::TrustedOwners;
use vipkeeper::observe::seen::{Claims, Holder, Now, Observed, Port, Seen, Serving, Sight, Witness};
use vipkeeper::state_dir::Machine;
use vipkeeper::state_dir::files::Files;

use super::Fuzz;

/// Of a node that keeps its bindings for a successor. `BOOT` stands for the id of this boot.
const CLAIM: &str = r#"{"boot_id":"BOOT","version":1,"claim":"c1","started_ms":1795917562826,"started_boot_ms":300000,"term":1795917562826,"term_mended":true,"recorded":true,"superseded_by":{"node":"i-b","term":1795917562900},"superseded_on":["rtb-1"],"seen_given_up":{"i-b":[1795917562900,{"secs":310,"nanos":0}]},"applied":[{"kind":"elastic_ip","target":"192.0.2.1"}],"gone":[{"kind":"route","target":"rtb-1"}],"led":true,"keeping":{"since":{"secs":320,"nanos":5},"term":1795917562826,"word":"may_be_missing"},"converged_ms":1795917563015,"on_watchdogs_word":true}"#;

/// When the daemon looks, since boot.
const LOOKS_AT: [Duration; 3] = [Duration::from_secs(321), Duration::from_secs(322), Duration::from_secs(10_000)];
const WALL_MS: u64 = 1_795_917_583_000;

fn vip() -> Vip {
    let (allocation, eni, private_ip) = ("eipalloc-1".parse().unwrap(), "eni-a".parse().unwrap(), [10, 0, 0, 9].into());
    let binding = Binding::ElasticIp { allocation, eni, private_ip, after: None };
    Vip {
        delegate_ip: "192.0.2.1".parse().unwrap(),
        instance: "i-a".parse().unwrap(),
        bindings: BTreeMap::from([(BindingKey::new(Kind::ElasticIp, "192.0.2.1"), Some(binding))]),
        obstacles: BTreeMap::new(),
        claims: ClaimMode::Tags,
        handover: Handover::AfterGuard,
        anchor: None,
    }
}

/// A look that shows the binding at the node `i-b`, whose claim stands or was given up.
fn observed(vip: &Vip, at: Duration, stands: bool) -> Observed {
    let holder = Holder { name: "eni-b".to_owned(), instance: "i-b".parse().ok(), blackhole: false };
    let sight = |key: &BindingKey| (key.clone(), Sight { seen: Seen::Elsewhere(holder.clone()), at });
    let claim = BTreeMap::from([("i-b".parse().unwrap(), Term(1_795_917_562_900))]);
    let (terms, withdrawn) = if stands { (claim, BTreeMap::new()) } else { (BTreeMap::new(), claim) };
    Observed {
        sights: vip.bindings.keys().map(sight).collect(),
        local: BTreeMap::new(),
        claims: Claims::Read {
            terms,
            withdrawn,
            implausible: BTreeMap::new(),
            edited: BTreeMap::new(),
            at,
            elsewhere: BTreeMap::new(),
        },
        witness: Witness::Silent,
        serving: Serving { port: Port::Answers, quorum: None },
        server_ms: None,
    }
}

/// The plans of a daemon that goes on from this memory, for each desired state and in each look.
fn plans(persisted: &Persisted) -> Vec<Plan> {
    let vip = vip();
    let leads = |id: ClaimId| Desired::Leader(Claim { id, started_ms: persisted.started_ms, started_at: None });
    let wanted = [
        leads(persisted.claim.clone()),
        leads(ClaimId::new("another")),
        Desired::Standby(WhyStandby::GuardDead),
        Desired::Standby(WhyStandby::Down),
        Desired::Unknown(WhyUnknown::NoFile),
    ];
    let mut plans = Vec::new();
    for desired in &wanted {
        let mut decider = Decider::restore(Some(persisted.clone()), LOOKS_AT[0], WALL_MS);
        for at in LOOKS_AT {
            for stands in [true, false] {
                let now = Now { at, wall_ms: WALL_MS };
                plans.push(decider.decide(&vip, desired, &mut observed(&vip, at, stands), now));
            }
        }
        // The next daemon goes on from what this one remembers.
        let again = decider.to_persist().expect("a claim is remembered");
        let _ = Decider::restore(Some(again), LOOKS_AT[2], WALL_MS);
    }
    plans
}

#[test]
fn a_daemon_goes_on_whatever_the_file_of_its_claim_says() {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let vip = vip().delegate_ip;
    let path = folder.path().join("claims").join(format!("{vip}.json"));
    fs::create_dir(path.parent().unwrap()).unwrap();
    let good = CLAIM.replace("BOOT", &clock::boot_id().unwrap());
    let files = Files::new(folder.path(), TrustedOwners::root(), None).unwrap();
    let words = &["\"secs\":", "\"nanos\":", "\"term\":", "\"keeping\":", "\"led\":", "null", "18446744073709551615"];
    let mut fuzz = Fuzz::new("claim file", &[good.as_bytes()], words);
    fs::write(&path, &good).unwrap();
    assert!(files.load(vip).is_some_and(|read| read.keeping.is_some() && !read.seen_given_up.is_empty()));
    while let Some(input) = fuzz.next() {
        fs::write(&path, &input.bytes).unwrap();
        let result = match files.load(vip) {
            Some(read) => format!("{:?}", plans(&read).iter().map(|plan| plan.standing.clone()).collect::<Vec<_>>()),
            None => "nothing is remembered".to_owned(),
        };
        fuzz.came_of_it(&input, &result);
    }
}

/// Each number of the file, one after the other, as great and as small as it can be.
#[test]
fn no_number_in_the_file_of_a_claim_ends_the_daemon() {
    let numbers: Vec<_> = CLAIM.match_indices(|c: char| c.is_ascii_digit()).map(|(at, _)| at).collect();
    let starts = numbers.iter().filter(|at| CLAIM[..**at].ends_with([':', '[']));
    let mut read = 0;
    for start in starts {
        let length = CLAIM[*start..].find(|c: char| !c.is_ascii_digit()).unwrap();
        for number in ["0", "1", "320", "999999999", "4294967295", "9223372036854775807", "18446744073709551615"] {
            let text = format!("{}{number}{}", &CLAIM[..*start], &CLAIM[start + length..]);
            if let Ok(persisted) = serde_json::from_str(&text) {
                plans(&persisted);
                read += 1;
            }
        }
    }
    assert!(read > 60, "{read} of the files can be read");
}
