//! A network of the test's own: a namespace with lo and a pair of veth interfaces, gone when its thread ends.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::thread;

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::route::{RouteScope, RouteType};
use rtnetlink::{Handle, LinkUnspec, LinkVeth, RouteMessageBuilder};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Runs `test` in a fresh namespace, on a thread and a runtime of its own. Where that is not permitted it says so and
/// returns, unless CI says that it must be.
pub fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce(Network) -> F + Send + 'static) {
    let thread = thread::spawn(|| {
        #[expect(unsafe_code, reason = "rustix has no safe way to leave a network namespace")]
        // SAFETY: the flag leaves file descriptors and memory shared as they are; it moves only this thread.
        if let Err(error) = unsafe { unshare_unsafe(UnshareFlags::NEWNET) } {
            assert!(std::env::var("CI").is_err(), "CI must run this test: no network namespace ({error})");
            eprintln!("skipped: making a network namespace needs CAP_SYS_ADMIN ({error})");
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let network = Network::new().await;
            test(network).await;
        });
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// The operator's hand: what an `ip` command would do.
pub struct Network {
    handle: Handle,
}

/// The interface of the namespace; its other end is `PEER`.
pub const INTERFACE: &str = "eth0";
pub const PEER: &str = "peer0";

impl Network {
    /// A hand in the network that this thread is in.
    pub fn here() -> Self {
        let (connection, handle, _) = rtnetlink::new_connection().unwrap();
        tokio::spawn(connection);
        Self { handle }
    }

    /// Makes and starts the interfaces of the namespace that this thread is in.
    pub async fn new() -> Self {
        let network = Self::here();
        network.create(INTERFACE, PEER).await;
        for interface in ["lo", INTERFACE, PEER] {
            network.up(interface).await;
        }
        network
    }

    pub async fn create(&self, interface: &str, peer: &str) {
        self.handle.link().add(LinkVeth::new(interface, peer).build()).execute().await.unwrap();
    }

    pub async fn delete(&self, interface: &str) {
        self.handle.link().del(self.index(interface).await).execute().await.unwrap();
    }

    pub async fn up(&self, interface: &str) {
        let up = LinkUnspec::new_with_index(self.index(interface).await).up().build();
        self.handle.link().set(up).execute().await.unwrap();
    }

    /// Gives it another hardware address.
    pub async fn set_mac(&self, interface: &str, mac: [u8; 6]) {
        let changed = LinkUnspec::new_with_index(self.index(interface).await).address(mac.to_vec()).build();
        self.handle.link().set(changed).execute().await.unwrap();
    }

    /// Gives it another name beside its own.
    pub async fn alias(&self, interface: &str, name: &str) {
        let index = self.index(interface).await;
        self.handle.link().property_add(index).alt_ifname(&[name]).execute().await.unwrap();
    }

    pub async fn down(&self, interface: &str) {
        let down = LinkUnspec::new_with_index(self.index(interface).await).down().build();
        self.handle.link().set(down).execute().await.unwrap();
    }

    pub async fn add(&self, interface: &str, address: IpAddr, prefix: u8) {
        self.handle.address().add(self.index(interface).await, address, prefix).execute().await.unwrap();
    }

    /// Adds an address that leads to one peer, as on a point-to-point link.
    pub async fn add_with_peer(&self, interface: &str, address: IpAddr, peer: IpAddr) {
        let index = self.index(interface).await;
        let mut request = self.handle.address().add(index, address, 32);
        let attributes = &mut request.message_mut().attributes;
        attributes
            .retain(|attribute| !matches!(attribute, AddressAttribute::Address(_) | AddressAttribute::Broadcast(_)));
        attributes.push(AddressAttribute::Address(peer));
        request.execute().await.unwrap();
    }

    /// Gives an interface that is down another name.
    pub async fn rename(&self, interface: &str, name: &str) {
        let renamed = LinkUnspec::new_with_index(self.index(interface).await).name(name).build();
        self.handle.link().set(renamed).execute().await.unwrap();
    }

    /// Adds a route to this machine itself through `lo`.
    pub async fn route_locally(&self, to: Ipv4Addr, prefix: u8) {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(to, prefix)
            .output_interface(self.index("lo").await)
            .table_id(255)
            .scope(RouteScope::Host)
            .kind(RouteType::Local)
            .build();
        self.handle.route().add(route).execute().await.unwrap();
    }

    /// Adds a default route through a gateway, with this source address.
    pub async fn route_by_default(&self, gateway: Ipv4Addr, source: Option<Ipv4Addr>) {
        let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway);
        let route = source.into_iter().fold(route, RouteMessageBuilder::<Ipv4Addr>::pref_source);
        self.handle.route().add(route.build()).execute().await.unwrap();
    }

    /// Removes every entry of the address, whatever its prefix length.
    pub async fn remove(&self, address: IpAddr) {
        for entry in self.entries(address).await {
            self.remove_entry(entry).await;
        }
    }

    pub async fn remove_entry(&self, entry: AddressMessage) {
        self.handle.address().del(entry).execute().await.unwrap();
    }

    /// The kernel's entries of the address on all interfaces.
    pub async fn entries(&self, address: IpAddr) -> Vec<AddressMessage> {
        self.handle.address().get().set_address_filter(address).execute().try_collect().await.unwrap()
    }

    /// Adds and removes an address that is nobody's, over and over.
    pub async fn churn(&self, times: u32) {
        let address = IpAddr::from([10, 200, 0, 1]);
        for _ in 0..times {
            self.add(PEER, address, 32).await;
            self.remove(address).await;
        }
    }

    pub async fn index(&self, interface: &str) -> u32 {
        let found = self.handle.link().get().match_name(interface).execute().try_next().await.unwrap();
        found.unwrap().header.index
    }
}
