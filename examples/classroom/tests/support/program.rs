//! The program, as a person starts it.

#![allow(dead_code, reason = "each test uses a part")]

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

/// The program, which is killed when this is dropped.
pub struct Program {
    child: Child,
    lines: BufReader<ChildStdout>,
    pub url: String,
}

impl Program {
    pub fn start(directory: &Path, args: &[&str]) -> Self {
        let mut child = command(directory, args).spawn().expect("built");
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("a line");
        let url = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Self { child, lines, url }
    }

    pub fn address(&self) -> SocketAddr {
        let (_, rest) = self.url.split_once("://").expect("a URL");
        rest.trim_end_matches('/').parse().expect("an address")
    }

    /// Returns the tickets in the links that are printed.
    pub fn tickets<const N: usize>(&mut self) -> [String; N] {
        std::array::from_fn(|_| {
            loop {
                let mut line = String::new();
                assert!(self.lines.read_line(&mut line).expect("a line") > 0, "no more links");
                if let Some((_, ticket)) = line.trim().split_once("#ticket=") {
                    return ticket.to_owned();
                }
            }
        })
    }

    /// Sends a signal, by its name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let name = format!("-{name}");
        assert!(Command::new("kill").args([&name, &pid]).status().expect("it runs").success());
    }

    /// Sends the signal of Ctrl-C, and returns what is printed until the end.
    pub fn interrupt(mut self) -> String {
        self.signal("INT");
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("text");
        assert!(self.child.wait().expect("ended").success());
        rest
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the command of the program, which listens on any port, unless the arguments say another.
pub fn command(directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_classroom"));
    let listen = if args.contains(&"--listen") { &[][..] } else { &["--listen", "127.0.0.1:0"] };
    command.args(listen).args(args).current_dir(directory).stdout(Stdio::piped());
    command
}
