//! haproxy, in front of programs whose health it checks.

#![allow(dead_code, reason = "each test uses a part")]

use std::{fmt::Write, net::SocketAddr, path::Path, process::Command};

use hyper::Request;

use super::{engine::Engine, person::PROGRAM, try_request};

/// A proxy that passes each connection to the program with the fewest, whoever has served the client
/// before. It is killed when this is dropped.
pub struct Haproxy {
    _running: Engine,
    address: SocketAddr,
}

impl Haproxy {
    /// Starts it in front of programs, of which some may not run yet.
    pub async fn start(directory: &Path, address: SocketAddr, programs: &[(&str, SocketAddr)]) -> Self {
        let file = directory.join("haproxy.cfg");
        std::fs::write(&file, configuration(address, programs)).expect("written");
        // Debian has it where only administrators look.
        let path = Path::new("/usr/sbin/haproxy");
        let mut command = Command::new(if path.exists() { path } else { Path::new("haproxy") });
        // Without `-db`, it may go to the background.
        let running = Engine::start(command.arg("-db").arg("-f").arg(file), address.port()).await;
        Self { _running: running, address }
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns whether it passes connections to a program.
    pub async fn is_up(&self, program: &str) -> bool {
        let request = Request::get("/haproxy;csv");
        let (_, table) = try_request(self.address, request, String::new()).await.expect("it runs");
        let mut rows = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let names = rows.next().expect("names of columns");
        let status = names.iter().position(|name| *name == "status").expect("the column");
        let row = rows.find(|row| row[..2] == ["programs", program]).expect("the row");
        // "UP 1/2" after the first check that has failed.
        row[status].starts_with("UP")
    }
}

fn configuration(address: SocketAddr, programs: &[(&str, SocketAddr)]) -> String {
    let mut text = format!(
        "
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
  timeout check 10s
  option redispatch
frontend pages
  bind {address}
  stats enable
  stats uri /haproxy
  default_backend programs
backend programs
  balance leastconn
  option forwardfor
  option httpchk GET /healthz
  http-check expect status 200
  http-response set-header {PROGRAM} %s
  default-server check inter 500ms fall 2 rise 2 on-marked-down shutdown-sessions
"
    );
    for (name, address) in programs {
        writeln!(text, "  server {name} {address}").expect("no I/O");
    }
    text
}
