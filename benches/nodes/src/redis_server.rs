//! A `redis-server` with a directory of its own.

use std::{
    env,
    fs::File,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::settings::Durability;

const DEADLINE: Duration = Duration::from_secs(20);

/// A server, which ends when this is dropped.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    directory: TempDir,
    port: u16,
}

impl RedisServer {
    /// Starts a server, and waits until it answers.
    pub fn start(durability: Durability) -> Result<Self> {
        let (directory, port) = (directory()?, free_port()?);
        let log = File::create(directory.path().join("log"))?;
        let mut command = Command::new(program()?);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]);
        command.arg(directory.path());
        for option in durability.options() {
            let (name, value) = option.split_once(' ').context("an option has a name and a value")?;
            command.args([&format!("--{name}"), value]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let server = Self { child: command.spawn().context("cannot start redis-server")?, directory, port };
        let begin = Instant::now();
        while let Err(error) = server.ping() {
            if begin.elapsed() > DEADLINE {
                let log = std::fs::read_to_string(server.directory.path().join("log")).unwrap_or_default();
                bail!("redis-server does not answer: {error:#}\n{log}");
            }
            sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn ping(&self) -> Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer)?;
        anyhow::ensure!(&answer == b"+PONG\r\n", "it answers {}", answer.escape_ascii());
        Ok(())
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may have ended.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// Returns a new directory beside this program: the system's may be in memory.
pub fn directory() -> Result<TempDir> {
    let program = env::current_exe()?;
    let parent = program.parent().context("the program is in a directory")?;
    Ok(tempfile::Builder::new().prefix("redis-").tempdir_in(parent)?)
}

/// Returns the version of the server.
pub fn version() -> Result<String> {
    let output = Command::new(program()?).arg("--version").output()?;
    let text = String::from_utf8(output.stdout)?;
    let version = text.split_whitespace().find_map(|word| word.strip_prefix("v="));
    version.map(str::to_owned).with_context(|| format!("redis-server has no version: {text}"))
}

/// Returns the path of the server. It may not be in `PATH`.
fn program() -> Result<PathBuf> {
    let paths = env::var_os("PATH").unwrap_or_default();
    let found =
        env::split_paths(&paths).chain(["/usr/sbin", "/usr/local/sbin"].map(|path| Path::new(path).into()));
    let mut found = found.map(|directory| directory.join("redis-server")).filter(|path| path.is_file());
    found.next().context("redis-server is needed: Debian has it in the package redis-server")
}

/// Returns a port that no program uses now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
