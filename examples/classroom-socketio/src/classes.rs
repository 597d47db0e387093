//! All classes, by their names.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{class::Class, values::RoomName};

/// Classes at the same time, at most. A class stays until an administrator closes it.
pub const MAX_CLASSES: usize = 1000;

/// The error of one class too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server has too many classes")]
pub struct TooMany;

/// The classes of the server.
#[derive(Debug, Default)]
pub struct Classes(Mutex<HashMap<RoomName, Arc<Class>>>);

impl Classes {
    /// Returns a class, if it exists.
    pub fn get(&self, name: &RoomName) -> Option<Arc<Class>> {
        self.lock().get(name).cloned()
    }

    /// Returns a class. A new one has no messages up to this id.
    ///
    /// # Errors
    /// Fails if there are too many.
    pub fn open(&self, name: &RoomName, forgotten: u64) -> Result<Arc<Class>, TooMany> {
        let mut classes = self.lock();
        if let Some(class) = classes.get(name) {
            return Ok(class.clone());
        }
        if classes.len() >= MAX_CLASSES {
            return Err(TooMany);
        }
        let class = Arc::new(Class::new(name.clone(), forgotten));
        classes.insert(name.clone(), class.clone());
        Ok(class)
    }

    /// Removes a class, and returns it.
    pub fn take(&self, name: &RoomName) -> Option<Arc<Class>> {
        self.lock().remove(name)
    }

    /// Returns all classes, by name.
    pub fn all(&self) -> Vec<Arc<Class>> {
        let mut all: Vec<_> = self.lock().values().cloned().collect();
        all.sort_by(|a, b| a.name().cmp(b.name()));
        all
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RoomName, Arc<Class>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_limit() {
        let classes = Classes::default();
        let name = |number: usize| number.to_string().parse().expect("valid");
        for number in 0..MAX_CLASSES {
            classes.open(&name(number), 0).expect("room");
        }
        assert_eq!(classes.open(&name(MAX_CLASSES), 0).expect_err("full"), TooMany);
        classes.open(&name(0), 0).expect("it exists");
        assert!(classes.take(&name(0)).is_some());
        assert!(classes.get(&name(0)).is_none());
        classes.open(&name(MAX_CLASSES), 0).expect("room");
        assert_eq!(classes.all().len(), MAX_CLASSES);
    }
}
