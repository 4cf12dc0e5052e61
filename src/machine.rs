//! The machine as the operating system shows it: processes, clocks, users, small files, and the kernel's addresses.
//! This module knows nothing of VIPs.

pub mod certificate;
pub mod clock;
pub mod container;
pub(crate) mod effect;
pub mod folder;
pub mod hindrance;
pub mod kernel;
pub mod lock;
pub mod namespace;
pub mod netlink;
pub mod networkd;
pub mod process;
pub mod trust;
pub(crate) mod whole_file;
