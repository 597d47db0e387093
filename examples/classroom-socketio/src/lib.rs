//! A classroom chat on Socket.IO, for pages with the published `socket.io-client`.
//!
//! The program is `main.rs`. Values, the rate limit and the listener are those of the example `classroom`.

pub mod admin;
pub mod app;
pub mod args;
pub mod auth;
pub mod class;
pub mod classes;
pub mod events;
pub mod farewell;
pub mod history;
pub mod links;
pub mod page;
pub mod refusal;
pub mod returning;
pub mod roster;

#[path = "../../classroom/src/address.rs"]
pub mod address;
#[path = "../../classroom/src/limits.rs"]
pub mod limits;
#[path = "../../classroom/src/http/listener.rs"]
pub mod listener;
#[path = "../../classroom/src/values.rs"]
pub mod values;
