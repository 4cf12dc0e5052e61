//! The kernel of a simulated node, for the demo and for tests. Its local addresses exist in memory only.
//!
//! The simulated kernel does what the kernel does and no more. A test can change addresses as an operator does
//! ([`MemoryKernel::operator_add`], [`MemoryKernel::operator_remove`]), which wakes the loop as the kernel would, and
//! can switch failures on.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::machine::kernel::{Kernel, KernelError, LocalAddress, LocalView, Presence};
use crate::wake::Wake;

/// A handle on the simulated kernel. Clones share the same addresses.
#[derive(Debug, Clone, Default)]
pub struct MemoryKernel {
    kernel: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    interfaces: BTreeSet<String>,
    addresses: BTreeSet<LocalAddress>,
    reads_fail: Option<KernelError>,
    changes_fail: Option<KernelError>,
    wakes: Option<mpsc::Sender<Wake>>,
}

impl MemoryKernel {
    /// A node with these interfaces, and no address yet.
    pub fn new<N: Into<String>>(interfaces: impl IntoIterator<Item = N>) -> Self {
        let memory = Self::default();
        memory.kernel().interfaces = interfaces.into_iter().map(Into::into).collect();
        memory
    }

    /// Sets the channel that wakes the loop when somebody else changes the addresses. The node's own changes wake
    /// nobody.
    pub fn wake_through(&self, wakes: mpsc::Sender<Wake>) {
        self.kernel().wakes = Some(wakes);
    }

    /// Adds an address, as an operator does by hand.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn operator_add(&self, address: &LocalAddress) -> Result<(), KernelError> {
        let mut kernel = self.kernel();
        kernel.add(address)?;
        kernel.tell();
        Ok(())
    }

    /// Removes an address, as an operator does by hand.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn operator_remove(&self, address: &LocalAddress) -> Result<(), KernelError> {
        let mut kernel = self.kernel();
        kernel.remove(address)?;
        kernel.tell();
        Ok(())
    }

    /// Whether an address is there now.
    #[must_use]
    pub fn has(&self, address: &LocalAddress) -> bool {
        self.kernel().addresses.contains(address)
    }

    /// Plugs an interface in.
    pub fn plug(&self, interface: &str) {
        let mut kernel = self.kernel();
        kernel.interfaces.insert(interface.to_owned());
        kernel.tell();
    }

    /// Pulls an interface out, and removes its addresses with it.
    pub fn unplug(&self, interface: &str) {
        let mut kernel = self.kernel();
        kernel.interfaces.remove(interface);
        kernel.addresses.retain(|address| address.interface != interface);
        kernel.tell();
    }

    /// Makes every read of the addresses fail with this error from now on; with `None`, no read fails.
    pub fn fail_reads(&self, error: Option<KernelError>) {
        self.kernel().reads_fail = error;
    }

    /// Makes every change by the node itself fail with this error from now on; with `None`, no change fails.
    pub fn fail_changes(&self, error: Option<KernelError>) {
        self.kernel().changes_fail = error;
    }

    fn kernel(&self) -> MutexGuard<'_, Inner> {
        // No code here panics while it holds the lock. Even after a panic the values would be sound, because each
        // change is whole by itself.
        self.kernel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn add(&mut self, address: &LocalAddress) -> Result<(), KernelError> {
        self.must_have(&address.interface)?;
        self.addresses.insert(address.clone());
        Ok(())
    }

    fn remove(&mut self, address: &LocalAddress) -> Result<(), KernelError> {
        self.must_have(&address.interface)?;
        self.addresses.remove(address);
        Ok(())
    }

    fn must_have(&self, interface: &str) -> Result<(), KernelError> {
        if self.interfaces.contains(interface) { Ok(()) } else { Err(KernelError::NoInterface(interface.to_owned())) }
    }

    fn tell(&self) {
        if let Some(wakes) = &self.wakes {
            // A full channel wakes the loop too, and the loop then looks at everything. A closed channel has no loop
            // behind it.
            let _ = wakes.try_send(Wake::LocalAddress);
        }
    }
}

impl Kernel for MemoryKernel {
    async fn look(&self, addresses: &BTreeSet<IpAddr>) -> Result<LocalView, KernelError> {
        let kernel = self.kernel();
        let presence = |address: &IpAddr| {
            Presence::of_entries(kernel.addresses.iter().filter(|entry| entry.address == *address).cloned())
        };
        let of = addresses.iter().map(|address| (*address, presence(address))).collect();
        kernel.reads_fail.clone().map_or_else(|| Ok(LocalView { of, ..LocalView::default() }), Err)
    }

    async fn add(&self, address: &LocalAddress) -> Result<(), KernelError> {
        let mut kernel = self.kernel();
        kernel.changes_fail.clone().map_or_else(|| kernel.add(address), Err)
    }

    async fn remove(&self, address: &LocalAddress) -> Result<(), KernelError> {
        let mut kernel = self.kernel();
        kernel.changes_fail.clone().map_or_else(|| kernel.remove(address), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wake;

    fn vip(interface: &str) -> LocalAddress {
        LocalAddress::single(interface, [10, 0, 1, 50].into())
    }

    /// The addresses of the VIP that the kernel lists.
    async fn listed(memory: &MemoryKernel) -> Result<BTreeSet<LocalAddress>, KernelError> {
        let view = memory.look(&[vip("eth0").address].into()).await?;
        Ok(view.of.into_values().flat_map(|presence| presence.entries.into_keys()).collect())
    }

    #[tokio::test]
    async fn it_does_as_the_kernel_does() {
        let memory = MemoryKernel::new(["eth0"]);
        for _ in 0..2 {
            memory.add(&vip("eth0")).await.unwrap();
            assert_eq!(listed(&memory).await, Ok([vip("eth0")].into()));
        }
        for _ in 0..2 {
            memory.remove(&vip("eth0")).await.unwrap();
            assert_eq!(listed(&memory).await, Ok([].into()));
        }
        let nowhere = Err(KernelError::NoInterface("eth1".to_owned()));
        assert_eq!(memory.add(&vip("eth1")).await, nowhere);
        assert_eq!(memory.remove(&vip("eth1")).await, nowhere);
        memory.plug("eth1");
        memory.add(&vip("eth1")).await.unwrap();
        memory.unplug("eth1");
        assert_eq!(listed(&memory).await, Ok([].into()));
    }

    #[tokio::test]
    async fn an_operators_hand_wakes_and_the_nodes_own_does_not() {
        let memory = MemoryKernel::new(["eth0"]);
        let (wakes, mut woken_by) = wake::channel();
        memory.wake_through(wakes);
        memory.add(&vip("eth0")).await.unwrap();
        memory.remove(&vip("eth0")).await.unwrap();
        assert!(woken_by.try_recv().is_err());
        memory.operator_add(&vip("eth0")).unwrap();
        assert_eq!(woken_by.try_recv(), Ok(Wake::LocalAddress));
        memory.operator_remove(&vip("eth0")).unwrap();
        assert_eq!(woken_by.try_recv(), Ok(Wake::LocalAddress));
    }

    #[tokio::test]
    async fn failures_last_until_they_are_switched_off_and_change_nothing() {
        let memory = MemoryKernel::new(["eth0"]);
        memory.fail_changes(Some(KernelError::NotPermitted));
        assert_eq!(memory.add(&vip("eth0")).await, Err(KernelError::NotPermitted));
        assert_eq!(listed(&memory).await, Ok([].into()));
        memory.fail_changes(None);
        memory.add(&vip("eth0")).await.unwrap();
        let error = KernelError::Kernel { doing: "look".to_owned(), message: "no".to_owned() };
        memory.fail_reads(Some(error.clone()));
        assert_eq!(listed(&memory).await, Err(error));
        memory.fail_reads(None);
        assert_eq!(listed(&memory).await, Ok([vip("eth0")].into()));
    }
}
