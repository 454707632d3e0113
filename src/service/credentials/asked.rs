//! The place that is asked for credentials at present. It is named when it does not answer.

use std::sync::{Arc, Mutex};

use crate::sync::lock;

/// See the module. A clone is the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked(Arc<Mutex<String>>);

impl Asked {
    /// The place in words.
    pub fn get(&self) -> String {
        lock(&self.0).clone()
    }

    /// Another place is asked now.
    pub fn set(&self, place: &str) {
        place.clone_into(&mut lock(&self.0));
    }
}
