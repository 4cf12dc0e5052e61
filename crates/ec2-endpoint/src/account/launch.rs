//! Launching instances and making interfaces.

use std::net::Ipv4Addr;

use super::{
    Account, TopologyError,
    model::{Attachment, Eni, Instance, InstanceState, Tags},
    topology::unknown,
};

/// An instance to be launched.
#[derive(Clone, Debug)]
pub struct Launch {
    /// One interface for each: subnet, and private address if it is to be a certain one.
    interfaces: Vec<(String, Option<Ipv4Addr>)>,
    name: Option<String>,
    instance_type: String,
    role: Option<String>,
    addresses_per_interface: usize,
}

impl Launch {
    /// An instance with one interface, in this subnet.
    pub fn in_subnet(subnet_id: &str) -> Self {
        Self {
            interfaces: vec![(subnet_id.into(), None)],
            name: None,
            instance_type: "t3.medium".into(),
            role: None,
            addresses_per_interface: 6,
        }
    }

    /// Gives it a `Name` tag.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Fixes the primary address of the newest interface.
    #[must_use]
    pub fn private_ip(mut self, address: Ipv4Addr) -> Self {
        if let Some(newest) = self.interfaces.last_mut() {
            newest.1 = Some(address);
        }
        self
    }

    /// Adds one more interface.
    #[must_use]
    pub fn and_interface_in(mut self, subnet_id: &str) -> Self {
        self.interfaces.push((subnet_id.into(), None));
        self
    }

    /// Attaches an instance role by name.
    #[must_use]
    pub fn role(mut self, role: &str) -> Self {
        self.role = Some(role.into());
        self
    }

    /// Changes how many addresses of a family each interface may hold (six, as a t3.medium).
    #[must_use]
    pub fn addresses_per_interface(mut self, addresses: usize) -> Self {
        self.addresses_per_interface = addresses;
        self
    }
}

/// The resources that [`Account::add_instance`] made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launched {
    pub instance_id: String,
    /// Interface ids, by device index.
    pub interfaces: Vec<String>,
}

impl Account {
    /// Adds a running instance with its interfaces, in the VPC's default security group.
    ///
    /// # Errors
    /// An unknown subnet, or a private address that is outside the subnet, reserved or taken.
    pub fn add_instance(&mut self, launch: Launch) -> Result<Launched, TopologyError> {
        let instance_id = self.new_id("i");
        let reservation_id = self.new_id("r");
        let image_id = "ami-0123456789abcdef0".to_owned();
        let instance = Instance {
            id: instance_id.clone(),
            reservation_id,
            state: InstanceState::Running,
            instance_type: launch.instance_type,
            image_id,
            role: launch.role,
            tags_in_metadata: true,
            addresses_per_interface: launch.addresses_per_interface,
            tags: launch.name.map(|name| ("Name".to_owned(), name)).into_iter().collect(),
        };
        self.instances.insert(instance_id.clone(), instance);
        let mut interfaces = Vec::new();
        for (device_index, (subnet_id, address)) in (0..).zip(launch.interfaces) {
            let eni_id = self.add_interface(&subnet_id, address)?;
            let attachment = Attachment {
                id: self.new_id("eni-attach"),
                instance_id: instance_id.clone(),
                device_index,
                delete_on_termination: true,
            };
            if let Some(eni) = self.enis.get_mut(&eni_id) {
                eni.attachment = Some(attachment);
            }
            interfaces.push(eni_id);
        }
        self.revision += 1;
        Ok(Launched { instance_id, interfaces })
    }

    /// Adds an interface that is attached to nothing, and gives its id.
    ///
    /// # Errors
    /// An unknown subnet, or a private address that is outside the subnet, reserved or taken.
    pub fn add_interface(&mut self, subnet_id: &str, address: Option<Ipv4Addr>) -> Result<String, TopologyError> {
        let subnet = self.subnets.get(subnet_id).cloned().ok_or_else(|| unknown("subnet", subnet_id))?;
        let free =
            |address: &Ipv4Addr| subnet.is_assignable(*address) && self.holder_of(&subnet.vpc_id, *address).is_none();
        let private_ip = match address {
            Some(address) if !free(&address) => {
                let why = "it is outside the subnet, reserved, or taken";
                return Err(TopologyError::Unfit { value: address.to_string(), why });
            }
            Some(address) => address,
            None => subnet.cidr.hosts().find(free).ok_or_else(|| TopologyError::Unfit {
                value: subnet_id.into(),
                why: "the subnet has no free address",
            })?,
        };
        let groups = self
            .security_groups
            .values()
            .filter(|group| group.vpc_id == subnet.vpc_id && group.name == "default")
            .map(|group| group.id.clone())
            .collect();
        let id = self.new_id("eni");
        let [.., third, second, first] = self.next_number.to_be_bytes();
        let eni = Eni {
            id: id.clone(),
            subnet_id: subnet_id.into(),
            vpc_id: subnet.vpc_id.clone(),
            mac: format!("02:00:00:{third:02x}:{second:02x}:{first:02x}"),
            description: String::new(),
            source_dest_check: true,
            private_ips: vec![private_ip],
            ipv6_addresses: Vec::new(),
            groups,
            attachment: None,
            tags: Tags::new(),
        };
        self.enis.insert(id.clone(), eni);
        self.revision += 1;
        Ok(id)
    }
}
