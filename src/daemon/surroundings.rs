//! The surroundings of the loop: EC2, the kernel, the state folder, the voice, and more. Each is a trait or a function,
//! so that the simulation runs this very loop.

use std::net::SocketAddr;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;

use crate::config::Config;
use crate::observe::seen::Port;
use crate::pgpool::watchdog::Asked;
use crate::report::Reporter;

/// Asks Pgpool's watchdog for its word.
pub type Ask = Box<dyn Fn() -> LocalBoxFuture<'static, Asked>>;

/// Tries whether Pgpool answers at the address at which it serves clients.
pub type Knock = Box<dyn Fn(SocketAddr) -> LocalBoxFuture<'static, Port>>;

/// Reads the configuration again, on SIGHUP, and sets up anew everything around the loop that depends on it.
pub type Reload = Box<dyn Fn() -> Result<Config, String>>;

/// Everything around the loop.
pub struct Surroundings<E, K, I, M> {
    pub ec2: Rc<E>,
    pub kernel: Rc<K>,
    pub identify: Rc<I>,
    pub machine: M,
    pub reporter: Rc<dyn Reporter>,
    pub reload: Reload,
    pub ask_watchdog: Ask,
    pub knock: Knock,
    /// The random numbers of the jitter.
    pub rng: fastrand::Rng,
}
