//! The tags of claims, as EC2 has them.

use ec2_endpoint::TagSpec;
use vipkeeper::claim_tag::{tag_value, withdrawn_value};
use vipkeeper::ids::Term;

use crate::breaks::tag_the_address;
use crate::support::computer::EPOCH_MS;
use crate::support::in_paused_time;
use crate::well::*;

#[test]
fn a_claim_is_judged_by_ec2s_clock_and_not_by_the_one_of_this_node() {
    in_paused_time(async {
        let strange = async |term_s: u64, ahead_ms: i64| {
            let stage = Stage::new();
            let value = Some(tag_value(Term(EPOCH_MS + 1000 * term_s)));
            tag_the_address(&stage, vec![TagSpec { key: format!("vipkeeper/{EIP}/i-0abc"), value }]);
            let mut facts = stage.facts().await;
            facts.machine.now.wall_ms = facts.machine.now.wall_ms.saturating_add_signed(ahead_ms);
            let results = judged(&facts);
            faults(&results).get("claims-plausible").map(|_| said(&results, "claims-plausible").to_owned())
        };
        assert_eq!(strange(100, -301_000).await, None, "of now");
        let ahead = strange(500, 301_000).await.expect("of the future");
        assert!(ahead.contains(&format!("vipkeeper/{EIP}/i-0abc has the term")), "{ahead}");
    });
}

#[test]
fn no_value_that_a_node_writes_counts_as_edited() {
    in_paused_time(async {
        let told = async |value: &str| {
            let stage = Stage::new();
            let tag = TagSpec { key: format!("vipkeeper/{EIP}/i-0abc"), value: Some(value.to_owned()) };
            tag_the_address(&stage, vec![tag]);
            let results = judged(&stage.facts().await);
            faults(&results).get("claims-plausible").map(|_| said(&results, "claims-plausible"))
        };
        for value in [tag_value(Term(EPOCH_MS)), tag_value(Term(0)), withdrawn_value(Term(EPOCH_MS))] {
            assert_eq!(told(&value).await, None, "{value}");
        }
        for value in ["0", "0 withdrawn 007", "0 withdrawn 7 by me", "1700000000000 withdrawn 7", "1700000000000 mine"]
        {
            let said = told(value).await.unwrap_or_else(|| panic!("{value} is taken for a node's"));
            assert!(said.contains(&format!("the value '{value}', which no node wrote")), "{said}");
        }
    });
}
