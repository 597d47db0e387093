//! The server as a child process: its address, processor time and memory.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::{machine, server::Library};

#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub address: SocketAddr,
}

impl Child {
    /// Starts a server, which counts allocated bytes if asked to.
    pub fn start(library: Library, count: bool) -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        let name = library.to_possible_value().context("a name")?;
        command.args(["serve", name.get_name()]);
        if count {
            command.arg("--count");
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = process.stdin.take().context("no standard input")?;
        let answers = BufReader::new(process.stdout.take().context("no standard output")?);
        let mut child = Self { process, orders, answers, address: ([127, 0, 0, 1], 0).into() };
        let port = child.answer()?.parse()?;
        child.address.set_port(port);
        Ok(child)
    }

    pub fn cpu_time(&self) -> Result<Duration> {
        machine::cpu_time(self.process.id())
    }

    pub fn resident_bytes(&self) -> Result<u64> {
        machine::resident_bytes(self.process.id())
    }

    pub fn allocated_bytes(&mut self) -> Result<i64> {
        writeln!(self.orders, "stat")?;
        Ok(self.answer()?.parse()?)
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        ensure!(!line.is_empty(), "the server ended");
        Ok(line.trim().to_owned())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.process.kill();
        let _waited = self.process.wait();
    }
}
