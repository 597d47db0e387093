//! A client of Socket.IO over WebSocket, as fast as it can be.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use fullduplex::{ClientStream, CloseCode, Config, WebSocket};

/// The event that is sent, with the id 1.
const QUESTION: &str =
    r#"421["ask",{"id":12345,"text":"the quick brown fox jumps over the lazy dog","tags":["a","b"]}]"#;

/// The event that the server sends to a room.
const NEWS: &str = r#"42/room,["news",{"#;

#[derive(Debug)]
pub struct Client(WebSocket<ClientStream>);

impl Client {
    /// Opens a session, and connects to the main namespace.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        Self::open_in(address, "").await
    }

    /// Opens a session, and connects to the namespace whose sockets are all in one room.
    pub async fn open_in_room(address: SocketAddr) -> Result<Self> {
        let mut client = Self::open_in(address, "/room,").await?;
        let joined = client.text().await?;
        ensure!(joined.starts_with(r#"42/room,["joined""#), "not in the room: {joined}");
        Ok(client)
    }

    async fn open_in(address: SocketAddr, namespace: &str) -> Result<Self> {
        let client = fullduplex::Client::new(Config::new().ping_interval(None));
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let (ws, _response) = client.connect(&*url).await?;
        let mut client = Self(ws);
        let open = client.text().await?;
        ensure!(open.starts_with("0{"), "no open packet: {open}");
        client.0.send(format!("40{namespace}")).await?;
        let connected = client.text().await?;
        ensure!(connected.starts_with(&format!("40{namespace}{{")), "not connected: {connected}");
        Ok(client)
    }

    /// Sends an event, and waits for its acknowledgement.
    pub async fn ask(&mut self) -> Result<()> {
        self.0.send(QUESTION).await?;
        let answer = self.text().await?;
        ensure!(answer.starts_with("431["), "no acknowledgement: {answer}");
        Ok(())
    }

    /// Receives the event that the server sends to the room.
    pub async fn receive_news(&mut self) -> Result<()> {
        let news = self.text().await?;
        ensure!(news.starts_with(NEWS), "another event: {news}");
        Ok(())
    }

    pub async fn close(mut self) {
        // A server may end the transport without a Close of its own.
        let _ = self.0.close(CloseCode::NORMAL, "").await;
    }

    /// Returns the next message, and answers the pings before it. Some servers send one at once.
    async fn text(&mut self) -> Result<String> {
        loop {
            let message = self.0.recv().await?.context("closed")?;
            match message.as_text().context("no text")? {
                "2" => self.0.send("3").await?,
                text => return Ok(text.to_owned()),
            }
        }
    }
}
