//! The kernel of the simulated machine: its addresses, the hands that change them, and its faults.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use vipkeeper::machine::kernel::{Kernel, KernelError, Left, LocalAddress, LocalView, Presence, Reset};
use vipkeeper::wake::Wake;

use super::Computer;
use crate::support::estate::INTERFACE;

/// The interfaces of a machine on which nothing was renamed.
const FIRST_NAMES: [&str; 3] = ["lo", INTERFACE, "eth1"];

impl Computer {
    pub fn fail_kernel(&self, error: Option<KernelError>) {
        self.memory.borrow_mut().kernel_fails = error;
    }

    /// Gives an interface another name. Its addresses stay on it.
    pub fn rename(&self, from: &str, to: &str) {
        let mut memory = self.memory.borrow_mut();
        memory.renamed.insert(from.to_owned());
        memory.renamed.remove(to);
        memory.new_names.insert(to.to_owned());
        let name = |interface: String| if interface == from { to.to_owned() } else { interface };
        let addresses = std::mem::take(&mut memory.addresses).into_iter();
        memory.addresses =
            addresses.map(|address| LocalAddress { interface: name(address.interface), ..address }).collect();
    }

    pub fn fail_resets(&self, error: KernelError) {
        self.memory.borrow_mut().resets_fail = Some(error);
    }

    /// The addresses whose connections the daemon asked to end while the address was still there.
    pub fn resets(&self) -> Vec<IpAddr> {
        self.memory.borrow().resets.clone()
    }

    pub fn slow_kernel(&self, takes: Duration) {
        self.memory.borrow_mut().kernel_takes = takes;
    }

    fn local(address: IpAddr) -> LocalAddress {
        LocalAddress::single(INTERFACE, address)
    }

    pub fn has_local(&self, address: IpAddr) -> bool {
        self.memory.borrow().addresses.contains(&Self::local(address))
    }

    /// Somebody adds an address by hand.
    pub fn add_by_hand(&self, address: IpAddr) {
        let mut memory = self.memory.borrow_mut();
        memory.addresses.insert(Self::local(address));
        memory.wake(Wake::LocalAddress);
    }

    /// Somebody adds an address by hand in another form, which the kernel removes together with something else if
    /// `kept` says so.
    pub fn add_in_form_by_hand(&self, entry: LocalAddress, kept: Option<&str>) {
        let mut memory = self.memory.borrow_mut();
        memory.kept.extend(kept.map(|why| (entry.clone(), why.to_owned())));
        memory.addresses.insert(entry);
        memory.wake(Wake::LocalAddress);
    }

    pub fn remove_in_form_by_hand(&self, entry: &LocalAddress) {
        let mut memory = self.memory.borrow_mut();
        memory.kept.remove(entry);
        memory.addresses.remove(entry);
        memory.wake(Wake::LocalAddress);
    }

    /// Somebody makes the kernel answer for an address by a route, or removes that route. The kernel tells nobody.
    pub fn route_locally_by_hand(&self, address: IpAddr, route: Option<&str>) {
        let routes = &mut self.memory.borrow_mut().local_routes;
        match route {
            Some(route) => drop(routes.insert(address, route.to_owned())),
            None => drop(routes.remove(&address)),
        }
    }

    /// The address in all its forms.
    pub fn entries(&self, address: IpAddr) -> Vec<String> {
        let memory = self.memory.borrow();
        memory.addresses.iter().filter(|entry| entry.address == address).map(ToString::to_string).collect()
    }

    /// Somebody removes an address by hand.
    pub fn remove_by_hand(&self, address: IpAddr) {
        let mut memory = self.memory.borrow_mut();
        memory.addresses.remove(&Self::local(address));
        memory.wake(Wake::LocalAddress);
    }
}

impl Kernel for Computer {
    async fn look(&self, addresses: &BTreeSet<IpAddr>) -> Result<LocalView, KernelError> {
        let takes = self.memory.borrow().kernel_takes;
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        let memory = self.memory.borrow();
        let presence = |address: &IpAddr| {
            let entries = memory.addresses.iter().filter(|entry| entry.address == *address).cloned();
            let mut presence = Presence::of_entries(entries);
            for (entry, state) in &mut presence.entries {
                state.kept = memory.kept.get(entry).cloned();
            }
            presence.route = memory.local_routes.get(address).filter(|_| presence.entries.is_empty()).cloned();
            presence
        };
        let of: BTreeMap<_, _> = addresses.iter().map(|address| (*address, presence(address))).collect();
        let added = memory.added.intersection(&memory.addresses);
        let left_behind = added.filter(|entry| !addresses.contains(&entry.address)).cloned().collect();
        let names = FIRST_NAMES.map(str::to_owned).into_iter().chain(memory.new_names.clone());
        let interfaces = names.filter(|name| !memory.renamed.contains(name)).collect();
        memory.kernel_fails.clone().map_or(Ok(LocalView { of, left_behind, interfaces }), Err)
    }

    async fn add(&self, address: &LocalAddress) -> Result<(), KernelError> {
        self.switch.pass("before", "add an address").await;
        {
            let mut memory = self.memory.borrow_mut();
            if let Some(error) = &memory.kernel_fails {
                return Err(error.clone());
            }
            if memory.renamed.contains(&address.interface) {
                return Err(KernelError::NoInterface(address.interface.clone()));
            }
            memory.addresses.insert(address.clone());
            memory.added.insert(address.clone());
        }
        self.switch.pass("after", "add an address").await;
        Ok(())
    }

    async fn reset_connections(&self, address: IpAddr, going: &BTreeSet<LocalAddress>) -> Reset {
        self.switch.pass("before", "reset connections").await;
        let mut memory = self.memory.borrow_mut();
        if memory.addresses.iter().any(|entry| going.contains(entry)) {
            memory.resets.push(address);
        }
        let left = memory.resets_fail.clone().map(Left::Failed);
        Reset { ended: if left.is_some() { 0 } else { 3 }, left }
    }

    async fn remove(&self, address: &LocalAddress) -> Result<(), KernelError> {
        self.switch.pass("before", "remove an address").await;
        {
            let mut memory = self.memory.borrow_mut();
            if let Some(error) = &memory.kernel_fails {
                return Err(error.clone());
            }
            memory.addresses.remove(address);
        }
        self.switch.pass("after", "remove an address").await;
        Ok(())
    }
}
