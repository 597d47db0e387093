//! The servers: both acknowledge each event `ask` with its data.
//!
//! A server prints its port. It reads orders from standard input: `stat` returns the allocated bytes. It
//! exits at the end of standard input.

use std::{
    io::{self, BufRead, Write},
    thread,
};

use anyhow::{Result, bail};
use axum::Router;
use clap::ValueEnum;
use serde_json::Value;
use tokio::{net::TcpListener, runtime};

use crate::{counting, machine};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Library {
    /// The example package of this repository.
    Socketio,
    Socketioxide,
}

pub fn run(library: Library, count: bool) -> Result<()> {
    machine::pin_to(machine::SERVER_CORE)?;
    machine::raise_file_limit()?;
    if count {
        counting::start();
    }
    thread::spawn(|| {
        // Without orders, there is nothing left to do.
        let ended = take_orders();
        std::process::exit(i32::from(ended.is_err()));
    });
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?.port());
        Ok(axum::serve(listener, routes(library)).await?)
    })
}

fn routes(library: Library) -> Router {
    match library {
        Library::Socketio => {
            use socketio::{Data, Io, Namespace};

            let namespace = Namespace::new("/").on("ask", |_socket, Data(data): Data<Value>| async { data });
            Io::builder().namespace(namespace).build().routes()
        }
        Library::Socketioxide => {
            use socketioxide::{
                SocketIo,
                extract::{AckSender, Data, SocketRef},
            };

            let (layer, io) = SocketIo::new_layer();
            io.ns("/", async |socket: SocketRef| {
                socket.on("ask", async |Data(data): Data<Value>, ack: AckSender| {
                    // It fails only if the client has left.
                    let _ = ack.send(&data);
                });
            });
            Router::new().layer(layer)
        }
    }
}

fn take_orders() -> Result<()> {
    let mut out = io::stdout();
    for line in io::stdin().lock().lines() {
        match line?.as_str() {
            "stat" => writeln!(out, "{}", counting::allocated())?,
            other => bail!("no such order: {other}"),
        }
    }
    Ok(())
}
