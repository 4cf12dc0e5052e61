//! The permissions of the policy that `vipkeeper policy` prints: enough for every check, and each statement of it is
//! missed by its name.

use std::collections::BTreeMap;

use vipkeeper::check::all;

use crate::support::in_paused_time;
use crate::well::*;

/// The operations that EC2 has no dry run for: only the first move shows whether they are allowed.
const WITHOUT_DRY_RUN: [&str; 1] = ["MoveBetweenInterfaces"];

#[test]
fn under_exactly_the_printed_policy_no_check_finds_a_fault() {
    in_paused_time(async {
        let stage = Stage::new();
        let printed = stage.printed_policy(None);
        stage.estate.service().set_policy("a", Some(printed));
        let results = judged(&stage.facts().await);
        assert_eq!(faults(&results), BTreeMap::new(), "{}", results.page());
        // The policy does not allow what only the check would like to read.
        for id in ["firewall-pgpool", "firewall-watchdog", "firewall-ping", "firewall-probe"] {
            let said = said(&results, id);
            assert!(said.contains("allow ec2:DescribeSecurityGroups for this check"), "{id}: {said}");
        }
        let said = said(&results, "private-ip-slots");
        assert!(said.contains("allow ec2:DescribeInstanceTypes for this check"), "{said}");
    });
}

#[test]
fn each_statement_that_is_taken_out_is_named_by_a_check() {
    let whole = in_paused_time(async { Stage::new().printed_policy(None) });
    let mut missed = 0;
    // Nobody assumes the role of the other account in memory, so nobody is kept from it either.
    for sid in whole.sids().filter(|sid| *sid != "AssumeRoles" && !WITHOUT_DRY_RUN.contains(sid)) {
        in_paused_time(async {
            let stage = Stage::new();
            let less = stage.printed_policy(None).without(sid);
            stage.estate.service().set_policy("a", Some(less));
            let results = judged(&stage.facts().await);
            let found = faults(&results);
            let permissions: Vec<_> = found.keys().filter(|id| id.starts_with("allowed-")).collect();
            assert_eq!(found.len(), permissions.len(), "{sid}: {}", results.page());
            let told: String = permissions.iter().map(|id| said(&results, id)).collect();
            assert!(told.contains("(statement "), "{sid}: {}", results.page());
            let is_named = told.contains(&format!("(statement {sid})"))
                // Two statements allow the same move, and the first one is named.
                || (sid == "BetweenTheNodes" && told.contains("ec2:AssociateAddress"));
            assert!(is_named, "{sid}: {told}");
        });
        missed += 1;
    }
    assert!(missed >= 7, "{missed}");
}

#[test]
fn the_role_of_another_account_is_asked_about_its_own_table() {
    in_paused_time(async {
        let stage = Stage::new();
        let theirs = stage.printed_policy(Some(SHARED)).without("PointRoutes");
        stage.estate.service().set_policy(SHARED, Some(theirs));
        let results = judged(&stage.facts().await);
        // One statement is for all calls, because each route of that table is deleted on release.
        let wanted = BTreeMap::from([("allowed-route", "failed"), ("allowed-route-deletion", "warning")]);
        assert_eq!(faults(&results), wanted, "{}", results.page());
    });
}

#[test]
fn every_action_of_the_policy_belongs_to_one_check() {
    in_paused_time(async {
        let mut facts = Stage::new().facts().await;
        // Whatever the checks of permissions know of, they name with its statement once it cannot be asked.
        reads(&mut facts).dry_runs.clear();
        let results = judged(&facts);
        let ids = all().map(|(_, check)| check.id).filter(|id| id.starts_with("allowed-"));
        let told: String = ids.map(|id| said(&results, id) + "\n").collect();
        for need in &reads(&mut facts).needs {
            assert!(told.contains(&need.action), "{need:?}: {told}");
        }
    });
}
