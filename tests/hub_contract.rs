//! What a backplane guarantees, for the one in memory.
#![cfg(feature = "hub")]

#[path = "support/backplane.rs"]
mod backplane;

use std::time::Duration;

use backplane::{Engine, Node};
use fullduplex::hub::Memory;

impl Engine for Memory<String> {
    async fn node(&self) -> Node {
        Node::new(self.clone())
    }
}

contract_tests!(Memory::history(1000, Duration::from_secs(3600)));
