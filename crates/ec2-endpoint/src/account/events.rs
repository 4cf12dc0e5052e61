//! The events of an account that no call of a daemon causes: instances stop, start and end, interfaces vanish,
//! somebody points an address elsewhere by hand. A hand that points an address elsewhere uses [`Account::apply`].

use serde::Deserialize;

use super::{Account, TopologyError, model::InstanceState, topology::unknown};

/// Something that happens to the resource named. In JSON: `{"stop_instance": "i-..."}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    StopInstance(String),
    StartInstance(String),
    TerminateInstance(String),
    DeleteInterface(String),
    DetachInterface(String),
    DetachInternetGateway(String),
}

impl Account {
    /// Makes an event happen.
    ///
    /// # Errors
    /// An unknown resource, or one that this cannot happen to.
    pub fn happen(&mut self, event: &Event) -> Result<(), TopologyError> {
        match event {
            Event::StopInstance(id) => self.stop_instance(id),
            Event::StartInstance(id) => self.start_instance(id),
            Event::TerminateInstance(id) => self.terminate_instance(id),
            Event::DeleteInterface(id) => self.delete_interface(id),
            Event::DetachInterface(id) => self.detach_interface(id),
            Event::DetachInternetGateway(vpc_id) => self.detach_internet_gateway(vpc_id),
        }
    }

    /// Stops an instance. Its addresses stay; routes to its interfaces become blackholes.
    ///
    /// # Errors
    /// An unknown instance, or one that is terminated.
    pub fn stop_instance(&mut self, id: &str) -> Result<(), TopologyError> {
        self.set_instance_state(id, InstanceState::Stopped)
    }

    /// Starts an instance.
    ///
    /// # Errors
    /// An unknown instance, or one that is terminated.
    pub fn start_instance(&mut self, id: &str) -> Result<(), TopologyError> {
        self.set_instance_state(id, InstanceState::Running)
    }

    /// Ends an instance. Its interfaces go with it, or stay without an attachment if they are to outlive it.
    ///
    /// # Errors
    /// An unknown instance, or one that is terminated.
    pub fn terminate_instance(&mut self, id: &str) -> Result<(), TopologyError> {
        self.set_instance_state(id, InstanceState::Terminated)?;
        let interfaces: Vec<(String, bool)> = self
            .enis
            .values()
            .filter_map(|eni| {
                let attachment = eni.attachment.as_ref().filter(|attachment| attachment.instance_id == id)?;
                Some((eni.id.clone(), attachment.delete_on_termination))
            })
            .collect();
        for (eni_id, goes_too) in interfaces {
            if goes_too {
                self.delete_interface(&eni_id)?;
            } else if let Some(eni) = self.enis.get_mut(&eni_id) {
                eni.attachment = None;
            }
        }
        Ok(())
    }

    /// Puts an instance into a state, for example `Pending` while it boots.
    ///
    /// # Errors
    /// An unknown instance, or one that is terminated: there is no way back from that.
    pub fn set_instance_state(&mut self, id: &str, state: InstanceState) -> Result<(), TopologyError> {
        let instance = self.instances.get_mut(id).ok_or_else(|| unknown("instance", id))?;
        if instance.state == InstanceState::Terminated {
            return Err(TopologyError::Unfit { value: id.into(), why: "the instance is terminated" });
        }
        instance.state = state;
        self.revision += 1;
        Ok(())
    }

    /// Deletes an interface, attached or not. Elastic IPs become free; routes to it stay and become blackholes.
    ///
    /// # Errors
    /// An unknown interface.
    pub fn delete_interface(&mut self, id: &str) -> Result<(), TopologyError> {
        if !self.enis.contains(id) {
            return Err(unknown("network interface", id));
        }
        self.enis.remove(id);
        self.free_elastic_ips(|association| association.network_interface_id == id);
        self.revision += 1;
        Ok(())
    }

    /// Takes the internet gateway away from a VPC.
    ///
    /// # Errors
    /// An unknown VPC.
    pub fn detach_internet_gateway(&mut self, vpc_id: &str) -> Result<(), TopologyError> {
        self.vpcs.get_mut(vpc_id).ok_or_else(|| unknown("VPC", vpc_id))?.internet_gateway = None;
        self.revision += 1;
        Ok(())
    }

    /// Decides whether an interface goes when its instance is terminated.
    ///
    /// # Errors
    /// An unknown or unattached interface.
    pub fn set_delete_on_termination(&mut self, eni_id: &str, goes_too: bool) -> Result<(), TopologyError> {
        let attachment = self.enis.get_mut(eni_id).and_then(|eni| eni.attachment.as_mut());
        attachment.ok_or_else(|| unknown("attached network interface", eni_id))?.delete_on_termination = goes_too;
        self.revision += 1;
        Ok(())
    }

    /// Detaches an interface from its instance.
    ///
    /// # Errors
    /// An unknown or unattached interface.
    pub fn detach_interface(&mut self, eni_id: &str) -> Result<(), TopologyError> {
        let eni = self.enis.get_mut(eni_id).filter(|eni| eni.attachment.is_some());
        eni.ok_or_else(|| unknown("attached network interface", eni_id))?.attachment = None;
        self.revision += 1;
        Ok(())
    }
}
