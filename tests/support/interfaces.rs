//! The sentences about interfaces that are not found. Plain data: the tests of the identity compare them with those that
//! the program makes, and the tests of the loop begin with them.

pub const NONE: &str = "no interface eth7 on this machine (gone, or renamed?); there are: br0, eth0, eth1";
pub const NOT_OURS: &str = "interface br0 (02:00:00:00:00:09) is none of this instance's: the metadata service knows \
                            0a:00:00:00:00:01, 0a:00:00:00:00:02; is the interface a bridge or a container's?";
pub const TWO_ALIKE: &str = "the interfaces a, b all have 0a:00:00:00:00:01, the address of this instance's first ENI: \
                             name the one that is meant, with interface = \"...\"";
pub const NO_FIRST: &str =
    "no interface of this machine has 0a:00:00:00:00:01, the address of this instance's first ENI: name the interface";
pub const RENAMED: &str = "no interface eth0 on this machine (gone, or renamed?); there are: ens5";
