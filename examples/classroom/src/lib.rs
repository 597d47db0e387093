//! A classroom chat that a school could run.
//!
//! This is a library so that its tests can use its parts; the program is `classroom`.

pub mod address;
pub mod admission;
pub mod auth;
pub mod config;
pub mod http;
pub mod limits;
pub mod links;
pub mod live;
pub mod metrics;
pub mod store;
pub mod values;
