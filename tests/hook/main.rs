//! Pgpool's hooks and the file between them and the daemon, through the library. Where a whole process is needed, the
//! test program runs itself again as that process (`support::child`).

mod affirm;
mod guard;
mod order;
mod support;
mod trust;
mod wait;
mod write;
