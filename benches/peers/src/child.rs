//! The servers that the load generator starts.

use std::{env, process::Command};

use anyhow::Result;

pub use crate::process::Child;
use crate::{
    peers::{Manner, Peer, Takeover},
    tls::Identity,
};

/// The task of the server.
#[derive(Debug, Clone, Copy)]
pub enum Job {
    Echo(Manner),
    /// Echo, with allocated bytes counted.
    Count(Manner),
    Open,
    Broadcast(usize),
    /// Echo, and broadcast to all open connections.
    Storm,
    /// Echo with threads on all cores.
    Cores,
    /// Echo on the streams of HTTP/2.
    Http2,
    /// Echo compressed messages.
    Compressed(Takeover, Manner),
    /// Echo compressed messages, with allocated bytes counted.
    CountCompressed(Takeover, Manner),
}

impl Child {
    pub fn start(peer: &dyn Peer, job: Job) -> Result<Self> {
        Self::run(command(peer, job)?)
    }

    /// Starts a server that accepts connections over TLS.
    pub fn start_over_tls(peer: &dyn Peer, job: Job, identity: &Identity) -> Result<Self> {
        let mut command = command(peer, job)?;
        command.arg("--tls");
        identity.pass_to(&mut command);
        Self::run(command)
    }
}

/// Returns the command that starts a server.
fn command(peer: &dyn Peer, job: Job) -> Result<Command> {
    let mut command = Command::new(peer.program().map_or_else(env::current_exe, |path| Ok(path.into()))?);
    command.args(["serve", "--peer", peer.name()]);
    match job {
        Job::Echo(manner) => command.args(["--manner", name(manner)]),
        Job::Count(manner) => command.args(["--count", "--manner", name(manner)]),
        Job::Open => command.arg("--open"),
        Job::Storm => command.arg("--storm"),
        Job::Cores => command.arg("--cores"),
        Job::Http2 => command.arg("--http2"),
        Job::Broadcast(connections) => command.args(["--broadcast", &connections.to_string()]),
        Job::Compressed(takeover, manner) => {
            command.args(["--compressed", of(takeover), "--manner", name(manner)])
        }
        Job::CountCompressed(takeover, manner) => {
            command.args(["--count", "--compressed", of(takeover), "--manner", name(manner)])
        }
    };
    Ok(command)
}

fn name(manner: Manner) -> &'static str {
    match manner {
        Manner::Best => "best",
        Manner::Plain => "plain",
    }
}

fn of(takeover: Takeover) -> &'static str {
    match takeover {
        Takeover::None => "none",
        Takeover::Server => "server",
    }
}
