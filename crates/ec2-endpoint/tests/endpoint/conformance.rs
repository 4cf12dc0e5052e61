//! One list of calls, made to the embedded endpoint and to moto. Where the two differ, `differences` says why the embedded
//! endpoint is right; a difference that is not listed there fails the test, and so does one that is no more.

mod differences;
mod moto;
mod scenarios;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use crate::{
    client::{HttpAnswer, Running, query},
    tools,
};
use moto::Moto;
use scenarios::{SCENARIOS, Step};

/// The ids that the names in braces, like `{eni_a}`, stand for.
type Names = BTreeMap<String, String>;

/// One implementation of EC2, with the world that the scenarios start from.
struct Side {
    address: SocketAddr,
    names: Names,
}

impl Side {
    /// Makes a call; says what came of it with the names put back, so that two sides can be compared.
    fn answer(&mut self, step: &Step) -> String {
        let form = filled(step.form, &self.names);
        let answer = query(self.address, "node-a", "ec2", &format!("{form}&Version=2016-11-15")).unwrap();
        if let Some((element, name)) = step.remember
            && let Some(value) = answer.element(element)
        {
            self.names.insert(name.into(), value.into());
        }
        self.summary(step, &answer)
    }

    /// Status, code and the values of the elements that the step looks at.
    fn summary(&self, step: &Step, answer: &HttpAnswer) -> String {
        let values = step.elements.iter().map(|element| {
            let mut values: Vec<String> = answer.elements(element).into_iter().map(|value| self.named(value)).collect();
            // EC2 gives no order, and an element that is empty says as much as one that is not there.
            values.retain(|value| !value.is_empty());
            values.sort_unstable();
            format!(" {element}={}", values.join(","))
        });
        format!("{} {}{}", answer.status, answer.code(), values.collect::<String>())
    }

    fn named(&self, text: &str) -> String {
        let mut names: Vec<_> = self.names.iter().collect();
        // Longest first: `203.0.113.1` is a part of `203.0.113.10`.
        names.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        names.into_iter().fold(text.to_owned(), |text, (name, value)| text.replace(value, &format!("{{{name}}}")))
    }
}

fn filled(template: &str, names: &Names) -> String {
    let mut text = template.to_owned();
    for (name, value) in names {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    assert!(!text.contains('{'), "a name is missing: {text}");
    text
}

#[test]
fn the_endpoint_differs_from_moto_only_where_moto_differs_from_ec2() {
    if !tools::is_there("moto_server", "--help", "the comparison with moto") {
        return;
    }
    let moto = Moto::start();
    let mut listed: BTreeSet<(&str, &str)> = BTreeSet::new();
    for difference in differences::DIFFERENCES {
        assert!(listed.insert((difference.scenario, difference.step)), "{} is listed twice", difference.step);
        assert!(!difference.reason.is_empty());
    }
    let mut complaints = Vec::new();
    for scenario in SCENARIOS {
        let running = Running::start();
        let mut ours = Side { address: running.api, names: our_names(&running) };
        let mut theirs = Side { address: moto.address, names: moto.fresh_world() };
        for step in scenario.steps {
            let (we, they) = (ours.answer(step), theirs.answer(step));
            let is_listed = listed.remove(&(scenario.name, step.name));
            if (we != they) != is_listed {
                let verdict = if is_listed { "no longer differs" } else { "differs" };
                complaints.push(format!(
                    "{}: {} {verdict}\n   endpoint: {we}\n   moto:     {they}",
                    scenario.name, step.name
                ));
            }
        }
    }
    complaints.extend(listed.iter().map(|(scenario, step)| format!("{scenario}: {step} is listed but no step")));
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

fn our_names(running: &Running) -> Names {
    let world = &running.world;
    let named = [
        ("vpc", world.vpc.clone()),
        ("subnet", world.subnet.clone()),
        ("table", world.table.clone()),
        ("eip", world.eip.clone()),
        ("other_eip", world.other_eip.clone()),
        ("public_ip", "203.0.113.10".into()),
        ("i_a", world.a.instance_id.clone()),
        ("i_b", world.b.instance_id.clone()),
        ("eni_a", world.eni(&world.a)),
        ("eni_b", world.eni(&world.b)),
        ("ipv6", "2600:1f18:0:ab00".into()),
    ];
    named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
