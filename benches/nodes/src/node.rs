//! A node: a hub on Redis, and a WebSocket server, in a process of its own.
//!
//! | path | what a client does there |
//! |---|---|
//! | `/sender` | sends messages, whose first word is the room; each is answered by its offset once it is stored |
//! | `/member/ROOM` | is answered by the offset behind which it has joined, then receives the messages of the room |

use std::{
    env,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};
use clap::Args;
use fullduplex::{
    CloseCode, Error, Message, PreparedMessage,
    hub::{Event, Hub, Position},
    serve::{Incoming, Serve, ServerStream, Session},
};
use fullduplex_backplane_redis::Redis;
use tokio::io::AsyncReadExt;

use crate::message::{Received, room_of};

/// The messages that a room keeps.
pub const HISTORY: u64 = 100;

/// The arguments of a node.
#[derive(Debug, Args)]
pub struct NodeArgs {
    #[arg(long)]
    redis: String,
}

/// Runs a node until its standard input ends. Prints its port once it accepts connections.
pub async fn run(args: &NodeArgs) -> Result<()> {
    let redis: Redis<String> = Redis::builder(&args.redis).max_messages(HISTORY).build()?;
    let encode = |_: &String, position: Position, message: Message| match message.as_text() {
        Some(text) => PreparedMessage::from(Received::encode(position.offset, text)),
        None => message.into(),
    };
    let report = |_: &Hub, event| {
        if let Event::Lost { room, .. } = event {
            eprintln!("node: messages of {room} are lost");
        }
    };
    let hub = Hub::builder().backplane(redis.clone()).encode(encode).on_event(report).build();
    redis.connected().await?;
    let serve = Serve::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", serve.local_addr()?.port());
    let run = serve
        .on_failure(|failure| eprintln!("node: {failure}"))
        .run(move |session, request| attend(hub.clone(), session, request));
    let mut input = tokio::io::stdin();
    let end = async {
        let mut orders = Vec::new();
        input.read_to_end(&mut orders).await.context("cannot read the standard input")
    };
    tokio::select! {
        done = run => Ok(done?),
        ended = end => ended.map(drop),
    }
}

async fn attend(hub: Hub, session: Session<ServerStream>, request: Incoming) -> Result<(), Error> {
    match request.path().strip_prefix("/member/") {
        Some(room) => attend_member(hub, session, room.to_owned()).await,
        None => attend_sender(hub, session).await,
    }
}

async fn attend_sender(hub: Hub, mut session: Session<ServerStream>) -> Result<(), Error> {
    while let Some(message) = session.recv().await? {
        let Some(room) = message.as_text().map(|text| room_of(text).to_owned()) else {
            return session.close(CloseCode::UNSUPPORTED_DATA, "a message is text").await;
        };
        match hub.publish(&room, message).await {
            Ok(published) => session.feed(published.position.offset.to_string()).await?,
            Err(error) => {
                eprintln!("node: cannot publish: {error}");
                return session.close(CloseCode::INTERNAL_ERROR, "cannot publish").await;
            }
        }
    }
    Ok(())
}

async fn attend_member(hub: Hub, session: Session<ServerStream>, room: String) -> Result<(), Error> {
    let (ws, mut guard) = session.into_parts();
    let (mut receiver, sender) = ws.split();
    let member = hub.add(sender);
    match member.join(&room).await {
        Ok(position) => member.sender().send(position.offset.to_string()).await?,
        Err(error) => {
            eprintln!("node: cannot join: {error}");
            return member.sender().close(CloseCode::INTERNAL_ERROR, "cannot join").await;
        }
    }
    // Members only listen. Receiving answers pings, and writes what is queued.
    while guard.recv(&mut receiver).await?.is_some() {}
    Ok(())
}

/// A node as a child process, which ends when this is dropped.
#[derive(Debug)]
pub struct Node {
    /// The node also ends if this process is killed, because its standard input does.
    child: Child,
    address: SocketAddr,
}

impl Node {
    /// Starts a node, and waits until it accepts connections.
    pub fn start(redis: &str) -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["node", "--redis", redis]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start a node")?;
        let output = child.stdout.take();
        let mut node = Self { child, address: (Ipv4Addr::LOCALHOST, 0).into() };
        let mut line = String::new();
        BufReader::new(output.context("no standard output")?).read_line(&mut line)?;
        node.address.set_port(line.trim().parse().context("a node has ended")?);
        Ok(node)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn sender_url(&self) -> String {
        format!("ws://{}/sender", self.address)
    }

    pub fn member_url(&self, room: &str) -> String {
        format!("ws://{}/member/{room}", self.address)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}
