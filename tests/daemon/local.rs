//! The kernel answers for the VIP in a form that vipkeeper does not use itself, or for an address that left the config.

use vipkeeper::machine::kernel::LocalAddress;
use vipkeeper::problem::ProblemReason;

use crate::world::*;

fn entry(interface: &str, prefix: u8) -> LocalAddress {
    LocalAddress { interface: interface.to_owned(), address: ip(ADDRESS), prefix }
}

fn binding(world: &World) -> vipkeeper::status::BindingStatus {
    world.nodes[0].recorder.binding(ADDRESS, &format!("local_address {ADDRESS}"))
}

#[test]
fn a_standby_removes_what_makes_its_kernel_answer_and_says_what_it_removed() {
    for (interface, prefix) in [("eth0", 24), ("eth1", 32), ("lo", 32), ("renamed0", 16)] {
        in_paused_time(async move {
            let mut world = World::new(1, routes(1));
            world.start();
            world.down(0, ADDRESS);
            pass(seconds(10)).await;
            world.nodes[0].computer.add_in_form_by_hand(entry(interface, prefix), None);
            pass(millis(100)).await;
            let computer = &world.nodes[0].computer;
            assert_eq!(computer.entries(ip(ADDRESS)), Vec::<String>::new());
            assert_eq!(computer.resets(), [ip(ADDRESS)], "its clients are told first");
            let removed =
                format!("LocalAddress {{ interface: \"{interface}\", address: {ADDRESS}, prefix: {prefix} }}");
            let said = world.nodes[0].recorder.heard(&removed);
            assert!(!said.is_empty(), "{removed}");
            assert!(world.nodes[0].recorder.vip(ADDRESS).in_sync);
        });
    }
}

#[test]
fn a_leader_is_content_with_another_form_and_removes_it_with_its_down() {
    in_paused_time(async {
        let mut world = World::new(1, routes(1));
        world.start();
        pass(seconds(1)).await;
        world.nodes[0].computer.add_in_form_by_hand(entry("eth0", 24), None);
        pass(seconds(1)).await;
        world.up(0, ADDRESS);
        pass(seconds(30)).await;
        assert_eq!(world.nodes[0].computer.entries(ip(ADDRESS)), [format!("{ADDRESS}/24 on eth0")], "no second one");
        assert!(world.nodes[0].recorder.vip(ADDRESS).in_sync);
        assert_eq!(binding(&world).detail, format!("as {ADDRESS}/24 on eth0"));
        world.down(0, ADDRESS);
        pass(millis(100)).await;
        assert_eq!(world.nodes[0].computer.entries(ip(ADDRESS)), Vec::<String>::new());
    });
}

#[test]
fn a_standby_whose_kernel_goes_on_answering_is_blocked_and_says_by_what() {
    in_paused_time(async {
        let mut world = World::new(1, routes(1));
        world.start();
        world.down(0, ADDRESS);
        pass(seconds(10)).await;
        let computer = world.nodes[0].computer.clone();
        computer.route_locally_by_hand(ip(ADDRESS), Some("local 20.0.0.0/24 dev lo"));
        pass(seconds(40)).await;
        assert!(!world.nodes[0].recorder.vip(ADDRESS).in_sync);
        let told = binding(&world);
        assert_eq!(told.state.as_str(), "blocked");
        assert!(told.detail.contains("the route local 20.0.0.0/24 dev lo"), "{}", told.detail);

        computer.route_locally_by_hand(ip(ADDRESS), None);
        computer
            .add_in_form_by_hand(entry("eth0", 24), Some("the kernel would remove the route default along with it"));
        pass(millis(100)).await;
        let told = binding(&world);
        assert_eq!(told.state.as_str(), "blocked");
        assert!(told.detail.contains("20.0.0.50/24 on eth0"), "{}", told.detail);
        assert_eq!(computer.entries(ip(ADDRESS)).len(), 1, "it stays");
        computer.remove_in_form_by_hand(&entry("eth0", 24));
        pass(millis(100)).await;
        assert!(world.nodes[0].recorder.vip(ADDRESS).in_sync);
    });
}

#[test]
fn an_address_on_the_interface_of_an_earlier_config_goes_with_the_down() {
    in_paused_time(async {
        let mut world = World::new(1, routes(1));
        {
            let mut node = world.nodes[0].identity.node.borrow_mut();
            let interface = node.interfaces["eth0"].clone();
            node.interfaces.insert("eth1".to_owned(), interface);
        }
        world.start_with_leader_of(ADDRESS, seconds(30)).await;
        let node = &world.nodes[0];
        for address in &mut node.config.borrow_mut().as_mut().unwrap().vips[0].addresses {
            address.route.as_mut().unwrap().interface = Some("eth1".to_owned());
        }
        node.wake(Wake::Config);
        pass(seconds(30)).await;
        assert_eq!(world.nodes[0].computer.entries(ip(ADDRESS)), [format!("{ADDRESS}/32 on eth0")]);
        world.down(0, ADDRESS);
        pass(millis(100)).await;
        assert_eq!(world.nodes[0].computer.entries(ip(ADDRESS)), Vec::<String>::new());
    });
}

/// The message of the problem that tells of what is left behind.
fn left_behind(world: &World) -> Option<String> {
    let problems = world.nodes[0].recorder.last().problems;
    problems.into_iter().find(|problem| problem.reason == ProblemReason::LeftBehind).map(|problem| problem.message)
}

#[test]
fn what_leaves_the_config_while_it_leads_here_is_named_and_left_alone() {
    in_paused_time(async {
        let also = "20.0.0.51";
        let mut world = World::new(1, |estate| {
            estate.allocate(EIP);
            let tables = estate.add_tables(1);
            let addresses = vec![by_elastic_ip(EIP), by_route(ADDRESS, &tables), by_route(also, &tables)];
            config(vec![vip(addresses)])
        });
        world.start_with_leader_of(EIP, seconds(30)).await;
        assert_eq!(left_behind(&world), None);
        let removed = world.nodes[0].config.borrow_mut().as_mut().unwrap().vips[0].addresses.pop().unwrap();
        let mark = world.mark();
        world.nodes[0].wake(Wake::Config);
        pass(seconds(30)).await;
        let message = left_behind(&world).expect("it is told");
        let table = &tables(&world)[0];
        for named in [format!("route {table} {also} of {EIP}"), format!("local address {also}/32 on eth0")] {
            assert!(message.contains(&named), "{message}");
        }
        assert!(!message.contains(ADDRESS) && !message.contains("elastic_ip"), "{message}");
        assert!(world.nodes[0].has_local(also), "only what the config names is touched");
        assert_eq!(world.writes(mark), []);

        // A daemon that was started with the changed config finds the address by its mark.
        world.nodes[0].kill().await;
        world.nodes[0].start();
        pass(seconds(30)).await;
        let message = left_behind(&world).expect("it is told");
        assert!(message.contains(&format!("local address {also}/32 on eth0")), "{message}");
        world.nodes[0].config.borrow_mut().as_mut().unwrap().vips[0].addresses.push(removed);
        world.nodes[0].wake(Wake::Config);
        pass(seconds(30)).await;
        assert_eq!(left_behind(&world), None);
        assert!(world.nodes[0].recorder.vip(EIP).in_sync);
    });
}
