//! An HTTP client that shows all of a response.

#![allow(dead_code, reason = "each test uses a part")]

pub mod engine;
pub mod page;
pub mod person;
pub mod program;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

const DEADLINE: Duration = Duration::from_secs(60);

/// A response, whose header names are in lower case.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Response {
    /// Returns the value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// Returns the body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Sends a request with these header lines, and returns the response.
pub fn request(address: SocketAddr, line: &str, headers: &[&str], body: &str) -> Response {
    let mut tcp = TcpStream::connect(address).expect("it listens");
    tcp.set_read_timeout(Some(DEADLINE)).expect("open");
    let fields: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    write!(
        tcp,
        "{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    )
    .expect("open");
    let mut response = String::new();
    tcp.read_to_string(&mut response).expect("text");
    let (head, body) = response.split_once("\r\n\r\n").expect("a response");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Response { status, head: head.to_owned(), body: body.to_owned() }
}

pub fn get(address: SocketAddr, path: &str) -> Response {
    request(address, &format!("GET {path}"), &[], "")
}

pub fn post_json(address: SocketAddr, path: &str, body: &serde_json::Value) -> Response {
    request(address, &format!("POST {path}"), &["Content-Type: application/json"], &body.to_string())
}
