//! A server as a child process of the load generator: its address, processor time and memory.

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::machine;

#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub address: SocketAddr,
}

impl Child {
    /// Starts a server, which prints its port. It reads orders from standard input, and ends with it.
    pub fn run(mut command: Command) -> Result<Self> {
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
