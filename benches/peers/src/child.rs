//! The server as a child process of the load generator: its address, processor time and memory.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    machine,
    peers::{Manner, Peer, Takeover},
    tls::Identity,
};

#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub address: SocketAddr,
}

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

    fn run(mut command: Command) -> Result<Self> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = process.stdin.take().context("no standard input")?;
        let answers = process.stdout.take().context("no standard output")?;
        let mut child =
            Self { process, orders, answers: BufReader::new(answers), address: ([127, 0, 0, 1], 0).into() };
        let port = child.answer()?.parse()?;
        child.address.set_port(port);
        Ok(child)
    }

    /// Sends an order; [`answer`](Self::answer) receives the answer to it.
    pub fn order(&mut self, order: &str) -> Result<()> {
        Ok(writeln!(self.orders, "{order}")?)
    }

    pub fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        anyhow::ensure!(!line.is_empty(), "the server ended");
        Ok(line.trim().to_owned())
    }

    pub fn cpu_time(&self) -> Result<Duration> {
        machine::cpu_time(self.process.id())
    }

    pub fn user_time(&self) -> Result<Duration> {
        machine::user_time(self.process.id())
    }

    pub fn resident_bytes(&self) -> Result<u64> {
        machine::resident_bytes(self.process.id())
    }

    pub fn open_files(&self) -> Result<usize> {
        machine::open_files(self.process.id())
    }

    pub fn allocated_bytes(&mut self) -> Result<i64> {
        self.order("stat")?;
        Ok(self.answer()?.parse()?)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.process.kill();
        let _waited = self.process.wait();
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
