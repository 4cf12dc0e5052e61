//! The last answer of each source of the world.

use std::collections::{BTreeMap, BTreeSet};

use crate::binding::Account;
use crate::ec2::{Address, Ec2Error, Eni, EniQuery, RouteTable};
use crate::ids::{RouteTableId, SubnetId};
use crate::machine::kernel::{KernelError, LocalView};
use crate::observe::cause::FailedRead;
use crate::observe::question::{Answer, Question, TagChoice};
use crate::observe::seen::{Moment, WhyUnseen};

/// The result of the last read of one source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LastRead<T> {
    #[default]
    NotRead,
    Failed(FailedRead),
    /// `at` is when the read began.
    Read {
        value: T,
        at: Moment,
    },
}

impl<T> LastRead<T> {
    /// The value of the last read, and when that read began.
    ///
    /// # Errors
    /// The reason why there is no value.
    pub fn read(&self) -> Result<(&T, Moment), WhyUnseen> {
        match self {
            Self::NotRead => Err(WhyUnseen::NotRead),
            Self::Failed(failed) => Err(WhyUnseen::ReadFailed(Box::new(failed.clone()))),
            Self::Read { value, at } => Ok((value, *at)),
        }
    }

    /// Replaces the last read by a newer one, and returns the error of the newer read.
    fn replace(&mut self, result: Result<T, Ec2Error>, at: Moment) -> Result<(), Ec2Error> {
        match result {
            Ok(value) => {
                *self = Self::Read { value, at };
                Ok(())
            }
            Err(error) => {
                *self = Self::Failed(FailedRead::from(&error));
                Err(error)
            }
        }
    }
}

/// The last reads of all sources.
#[derive(Debug, Clone, Default)]
pub struct World {
    pub addresses: LastRead<Vec<Address>>,
    pub tables: BTreeMap<Account, LastRead<Vec<RouteTable>>>,
    /// The tables that carry the tags by which the config chooses tables. [`World::tables`] holds their routes.
    pub chosen: BTreeMap<TagChoice, LastRead<BTreeSet<RouteTableId>>>,
    pub interfaces: LastRead<(EniQuery, Vec<Eni>)>,
    pub tags: BTreeMap<SubnetId, LastRead<BTreeMap<String, String>>>,
    pub local: LastRead<LocalView>,
}

impl World {
    /// Makes an answer of EC2 part of the world. `at` is when EC2 was asked.
    ///
    /// # Errors
    /// The error that EC2 answered with. The world keeps the error as well.
    pub fn put(&mut self, answer: Answer, at: Moment) -> Result<(), Ec2Error> {
        match answer {
            Answer::Addresses(result) => self.addresses.replace(result, at),
            Answer::RouteTables(account, result) => self.tables.entry(account).or_default().replace(result, at),
            Answer::TaggedTables(choice, result) => {
                let ids = result.map(|tables| tables.into_iter().map(|table| table.id).collect());
                self.chosen.entry(choice).or_default().replace(ids, at)
            }
            Answer::Interfaces(query, result) => self.interfaces.replace(result.map(|enis| (query, enis)), at),
            Answer::Tags(subnet, result) => self.tags.entry(subnet).or_default().replace(result, at),
        }
    }

    /// Makes the kernel's answer part of the world. `at` is when the kernel was asked.
    ///
    /// # Errors
    /// The error that the kernel answered with. The world keeps the error as well.
    pub fn put_local(&mut self, result: Result<LocalView, KernelError>, at: Moment) -> Result<(), KernelError> {
        match result {
            Ok(value) => {
                self.local = LastRead::Read { value, at };
                Ok(())
            }
            Err(error) => {
                self.local = LastRead::Failed(FailedRead::from(&error));
                Err(error)
            }
        }
    }

    /// Forgets every read that none of the questions repeats: no decision may rest on a read that no later look brings
    /// up to date.
    pub fn keep_only(&mut self, asked: &[Question]) {
        let any = |wanted: &dyn Fn(&Question) -> bool| asked.iter().any(wanted);
        if !any(&|question| matches!(question, Question::Addresses(_))) {
            self.addresses = LastRead::NotRead;
        }
        if !any(&|question| matches!(question, Question::Interfaces(_))) {
            self.interfaces = LastRead::NotRead;
        }
        self.tables.retain(|kept, _| any(&|question| matches!(question, Question::RouteTables(of, _) if of == kept)));
        self.chosen.retain(|kept, _| any(&|question| matches!(question, Question::TaggedTables(of) if of == kept)));
        self.tags.retain(|kept, _| any(&|question| matches!(question, Question::Tags(of) if of == kept)));
    }
}
