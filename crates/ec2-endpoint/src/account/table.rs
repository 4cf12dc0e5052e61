//! A map from id to resource that is copied as a whole in constant time, so that history can keep a snapshot of the
//! account after every change. A write copies one level of the map, and the one resource that it touches.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Serialize, Serializer};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table<T>(Arc<BTreeMap<String, Arc<T>>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone> Table<T> {
    pub fn get(&self, id: &str) -> Option<&Arc<T>> {
        self.0.get(id)
    }

    pub fn contains(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    pub fn get_mut(&mut self, id: &str) -> Option<&mut T> {
        if !self.contains(id) {
            return None;
        }
        Arc::make_mut(&mut self.0).get_mut(id).map(Arc::make_mut)
    }

    pub fn insert(&mut self, id: String, value: T) {
        Arc::make_mut(&mut self.0).insert(id, Arc::new(value));
    }

    pub fn remove(&mut self, id: &str) {
        Arc::make_mut(&mut self.0).remove(id);
    }

    /// The resources, by id.
    pub fn values(&self) -> impl Iterator<Item = &Arc<T>> {
        self.0.values()
    }
}

impl<T: Serialize> Serialize for Table<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(id, value)| (id, &**value)))
    }
}
