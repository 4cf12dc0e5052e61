//! Three machines that boot Debian with systemd, with Debian's Pgpool-II and vipkeeper's package in them, in the lab's
//! network: an operator's day, by the README's own lines, in English or in Japanese.

mod boot;
mod cluster;
mod packages;
mod readme;
mod rpm;
mod stories;
