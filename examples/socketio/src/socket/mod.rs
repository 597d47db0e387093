//! Socket.IO 5, over sessions of Engine.IO.

mod ack;
mod assembly;
mod auth;
mod binary;
mod broadcast;
mod check;
mod cluster;
mod connect;
mod data;
mod driver;
mod error;
mod event;
mod handle;
mod io;
mod leave;
mod limits;
mod listeners;
mod listening;
mod namespace;
mod node;
mod outgoing;
mod packet;
mod payload;
mod queue;
mod recovery;
mod room;
mod server_side;
mod shared;

use std::{future::Future, pin::Pin};

pub use self::{
    assembly::{Assembly, Whole},
    auth::{Auth, ConnectError},
    binary::Binary,
    broadcast::{Answers, Broadcast, RemoteSocket},
    data::{Args, Arguments, Data, FromAnswer, InvalidData},
    error::{AckError, ClusterError, Disconnect, EmitError},
    event::{Ack, Event, FromEvent},
    handle::Socket,
    io::{Builder, Io},
    limits::Limits,
    listeners::Refused,
    namespace::Namespace,
    packet::{InvalidPacket, Kind, Packet},
    server_side::{FromServerEvent, NodeAnswers, ServerEvent},
};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
