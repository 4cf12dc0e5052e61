//! The node's interfaces and ENIs: missing, late, renamed, or not shown by EC2; and the search for who the node is.

use vipkeeper::machine::kernel::Kernel;
use vipkeeper::problem::ProblemReason;

use crate::support::interfaces::RENAMED;
use crate::world::*;

#[test]
fn an_interface_that_is_missing_keeps_only_its_own_vip_away() {
    in_paused_time(async {
        let mut world = World::new(1, |estate| {
            estate.allocate(EIP);
            let tables = estate.add_tables(1);
            let mut on_eth1 = by_route(ADDRESS, &tables);
            on_eth1.route.as_mut().unwrap().interface = Some("eth1".to_owned());
            config(vec![vip(vec![by_elastic_ip(EIP)]), vip(vec![on_eth1])])
        });
        let table = tables(&world)[0].clone();
        let complete = world.nodes[0].identity.node.borrow().clone();
        let why = "no interface eth1 on this machine; there are: eth0";
        let mut partial = complete.clone();
        partial.missing.insert(Some("eth1".to_owned()), why.to_owned());
        *world.nodes[0].identity.node.borrow_mut() = partial;
        world.start();
        world.up(0, EIP);
        world.up(0, ADDRESS);
        pass(seconds(20)).await;
        assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));
        assert_eq!(world.estate.route(&table, ADDRESS), None);
        let status = world.nodes[0].recorder.last();
        let problem = &status.problems[0];
        assert_eq!(problem.reason, ProblemReason::InterfaceMissing);
        assert_eq!(problem.message, why);
        let bindings = world.nodes[0].recorder.vip(ADDRESS).bindings;
        assert!(bindings.iter().any(|binding| format!("{binding:?}").contains(why)), "{bindings:?}");

        // The interface comes late, under the name that the config waits for.
        let mut come = complete;
        let eth0 = come.interfaces["eth0"].clone();
        come.interfaces.insert("eth1".to_owned(), eth0);
        *world.nodes[0].identity.node.borrow_mut() = come.clone();
        pass(seconds(90)).await;
        assert_eq!(world.estate.route(&table, ADDRESS), world.eni(0));
        assert_eq!(world.nodes[0].recorder.last().problems, []);

        // A later answer without it takes nothing away.
        come.interfaces.remove("eth1");
        come.missing.insert(Some("eth1".to_owned()), why.to_owned());
        *world.nodes[0].identity.node.borrow_mut() = come;
        world.nodes[0].wake(Wake::Config);
        pass(seconds(60)).await;
        assert_eq!(world.estate.route(&table, ADDRESS), world.eni(0));
    });
}

#[test]
fn a_search_for_a_missing_interface_comes_when_it_is_due_though_nothing_else_wakes_the_loop() {
    in_paused_time(async {
        let mut world = World::new(1, secondary_ip);
        let missing = (Some("eth1".to_owned()), "no interface eth1 on this machine".to_owned());
        world.nodes[0].identity.node.borrow_mut().missing.extend([missing]);
        world.start();
        // The delays between the searches are at most 0.2, 0.4, 0.8 and 1.6 s, the heartbeat 7 s.
        pass(seconds(4)).await;
        let asked = world.nodes[0].identity.asked.get();
        assert!(asked >= 5, "{asked} searches");
    });
}

#[test]
fn an_interface_that_was_renamed_meanwhile_is_found_under_its_new_name_and_under_an_alternative_one() {
    in_paused_time(async {
        let mut world = World::new(1, routes(1));
        world.start_with_leader_of(ADDRESS, seconds(60)).await;
        let asked = world.nodes[0].identity.asked.get();
        let named = |name: &str, first_name: Option<&str>| {
            let mut node = world.nodes[0].identity.node.borrow().clone();
            let (_, mut interface) = node.interfaces.pop_first().unwrap();
            interface.first_name = first_name.map(str::to_owned);
            node.interfaces.insert(name.to_owned(), interface);
            node.first = Some(name.to_owned());
            *world.nodes[0].identity.node.borrow_mut() = node;
        };
        // The second time the interface is known to the config by an alternative name.
        for (from, to, name, first_name) in [("eth0", "ens5", "ens5", None), ("ens5", "ens6", "enp0s6", Some("ens6"))] {
            world.nodes[0].computer.rename(from, to);
            named(name, first_name);
            world.nodes[0].wake(Wake::LocalAddress);
            pass(seconds(40)).await;
            assert!(world.nodes[0].recorder.vip(ADDRESS).in_sync, "{:?}", world.nodes[0].recorder.vip(ADDRESS));
            let address: IpAddr = ADDRESS.parse().unwrap();
            let here = world.nodes[0].computer.look(&[address].into()).await.unwrap();
            let interfaces: Vec<_> = here.of[&address].entries.keys().map(|entry| entry.interface.as_str()).collect();
            assert_eq!(interfaces, [to]);
        }
        assert!(world.nodes[0].identity.asked.get() - asked < 10, "and it is not asked all the time");
    });
}

#[test]
fn a_standby_whose_interface_is_renamed_says_so_before_it_has_to_lead() {
    in_paused_time(async {
        let mut world = World::new(2, |estate| {
            let tables = estate.add_tables(1);
            let mut on_eth0 = by_route(ADDRESS, &tables);
            on_eth0.route.as_mut().unwrap().interface = Some("eth0".to_owned());
            config(vec![vip(vec![on_eth0])])
        });
        world.start_with_leader_of(ADDRESS, seconds(60)).await;
        let right = world.nodes[1].identity.node.borrow().clone();
        let asked = world.nodes[1].identity.asked.get();
        let mut without = right.clone();
        without.interfaces.clear();
        without.missing.insert(Some("eth0".to_owned()), RENAMED.to_owned());
        // The kernel tells nobody who waits for the name eth0.
        world.nodes[1].computer.rename("eth0", "ens5");
        *world.nodes[1].identity.node.borrow_mut() = without;
        pass(seconds(60)).await;
        assert_eq!(problem(&world, 1), Some(format!("InterfaceMissing: {RENAMED}")));
        assert_eq!(problem(&world, 0), None);
        let searches = world.nodes[1].identity.asked.get() - asked;
        assert!((1..30).contains(&searches), "{searches} searches in a minute");

        world.nodes[1].computer.rename("ens5", "eth0");
        *world.nodes[1].identity.node.borrow_mut() = right;
        pass(seconds(90)).await;
        assert_eq!(problem(&world, 1), None);
        let asked = world.nodes[1].identity.asked.get();
        pass(seconds(600)).await;
        assert_eq!(world.nodes[1].identity.asked.get(), asked, "a node that knows itself does not ask");
    });
}

#[test]
fn an_eni_that_ec2_does_not_show_makes_the_node_ask_anew_who_it_is() {
    in_paused_time(async {
        let mut world = World::new(2, routes(1));
        let table = tables(&world)[0].clone();
        let right = world.nodes[0].identity.node.borrow().clone();
        let mut wrong = right.clone();
        wrong.interfaces.get_mut("eth0").unwrap().eni = "eni-00000000000000bad".parse().unwrap();
        *world.nodes[0].identity.node.borrow_mut() = wrong;
        world.start_alone_as_leader_of(ADDRESS, seconds(5)).await;
        assert_eq!(world.estate.route(&table, ADDRESS), None);
        *world.nodes[0].identity.node.borrow_mut() = right;
        pass(seconds(120)).await;
        assert_eq!(world.estate.route(&table, ADDRESS), world.eni(0));
        assert!(world.nodes[0].identity.asked.get() <= 4);
    });
}

#[test]
fn of_two_nodes_with_one_instance_id_the_one_that_ec2_contradicts_writes_nothing() {
    for (make, address) in [(elastic_ip as fn(&Estate) -> Config, EIP), (elastic_ip_and_route, EIP)] {
        in_paused_time(async {
            let mut world = World::new(2, make);
            let instance = world.nodes[0].place.instance.clone();
            world.nodes[1].identity.node.borrow_mut().instance = instance.parse().unwrap();
            world.start();
            pass(seconds(2)).await;
            world.up(0, address);
            pass(seconds(10)).await;
            let mark = world.mark();
            world.up(1, address);
            pass(seconds(60)).await;
            assert_eq!(world.writes(mark), [], "neither a binding nor a claim is written");
            assert_eq!(world.estate.elastic_ip(EIP), world.eni(0));
            assert!(world.nodes[0].recorder.vip(address).in_sync);
            let binding = world.nodes[1].recorder.binding(address, &format!("elastic_ip {EIP}"));
            let said = format!("{binding:?}");
            let wanted = format!("is attached to {}; correct identity.instance_id", world.nodes[1].place.instance);
            assert!(said.contains(&wanted), "{said}");
            let recorded = world.nodes[1].recorder.condition(address, "ClaimRecorded");
            assert!(!recorded.holds && recorded.message.contains(&wanted), "{recorded:?}");

            // The corrected node claims as any other.
            world.nodes[1].identity.node.borrow_mut().instance = world.nodes[1].place.instance.parse().unwrap();
            world.nodes[1].wake(Wake::Config);
            pass(seconds(10)).await;
            world.down(0, address);
            world.up(1, address);
            pass(seconds(20)).await;
            assert_eq!(world.estate.elastic_ip(EIP), world.eni(1));
        });
    }
}

/// The node's first problem.
fn problem(world: &World, node: usize) -> Option<String> {
    let problems = world.nodes[node].recorder.last().problems;
    problems.first().map(|problem| format!("{}: {}", problem.reason, problem.message))
}
