//! A child process that answers orders with counts.
//!
//! An order is a line. The answer is a line for each count, `COUNT NAME`, and an empty line.

use std::{
    collections::BTreeMap,
    env,
    io::{self, BufRead, BufReader, Write},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
};

use anyhow::{Context, Result, ensure};
use tokio::task::spawn_blocking;

/// Counts by name.
pub type Counts = BTreeMap<String, u64>;

/// The order that is answered by all counts.
pub const STAT: &str = "stat";

/// A child process, which ends when this is dropped.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    pipes: Arc<Mutex<Pipes>>,
}

#[derive(Debug)]
struct Pipes {
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Child {
    /// Starts this program with these arguments. Returns it with the counts that it begins with.
    ///
    /// The child also ends if this process is killed, because its standard input does.
    pub fn start(arguments: &[String]) -> Result<(Self, Counts)> {
        let mut command = Command::new(env::current_exe()?);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().context("cannot start a process")?;
        let orders = process.stdin.take().context("no standard input")?;
        let answers = BufReader::new(process.stdout.take().context("no standard output")?);
        let child = Self { process, pipes: Arc::new(Mutex::new(Pipes { orders, answers })) };
        let first = lock(&child.pipes).answer()?;
        Ok((child, first))
    }

    /// Sends an order. Returns the answer.
    pub async fn ask(&self, order: &'static str) -> Result<Counts> {
        let pipes = self.pipes.clone();
        // The child may take a while, and this thread has other tasks.
        spawn_blocking(move || {
            let mut pipes = lock(&pipes);
            writeln!(pipes.orders, "{order}")?;
            pipes.answer()
        })
        .await?
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended.
        let _killed = self.process.kill();
        let _waited = self.process.wait();
    }
}

impl Pipes {
    fn answer(&mut self) -> Result<Counts> {
        let mut counts = Counts::new();
        loop {
            let mut line = String::new();
            ensure!(self.answers.read_line(&mut line)? > 0, "a process has ended");
            let Some((count, name)) = line.trim_end().split_once(' ') else { return Ok(counts) };
            counts.insert(name.to_owned(), count.parse().context("not a count")?);
        }
    }
}

fn lock(pipes: &Mutex<Pipes>) -> std::sync::MutexGuard<'_, Pipes> {
    pipes.lock().expect("nothing panics while it is locked")
}

/// Answers an order, in the child.
pub fn answer(counts: &Counts) -> Result<()> {
    let mut out = io::stdout().lock();
    for (name, count) in counts {
        writeln!(out, "{count} {name}")?;
    }
    writeln!(out)?;
    Ok(out.flush()?)
}
