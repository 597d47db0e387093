//! What a backplane guarantees, on a real server.

#[path = "../../../tests/support/backplane.rs"]
mod backplane;
mod support;

contract_tests!(support::Server::start());
