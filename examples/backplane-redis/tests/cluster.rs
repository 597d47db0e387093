//! What a backplane guarantees, on a cluster.

#[path = "../../../tests/support/backplane.rs"]
mod backplane;
mod support;

use support::cluster::Shared;

contract_tests!(Shared::start());
