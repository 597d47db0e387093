//! A client of Socket.IO over WebSocket, as fast as it can be.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use fullduplex::{ClientStream, CloseCode, Config, WebSocket};

/// The event that is sent, with the id 1.
const QUESTION: &str =
    r#"421["ask",{"id":12345,"text":"the quick brown fox jumps over the lazy dog","tags":["a","b"]}]"#;

#[derive(Debug)]
pub struct Client(WebSocket<ClientStream>);

impl Client {
    /// Opens a session, and connects to the main namespace.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let client = fullduplex::Client::new(Config::new().ping_interval(None));
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let (ws, _response) = client.connect(&*url).await?;
        let mut client = Self(ws);
        let open = client.text().await?;
        ensure!(open.starts_with("0{"), "no open packet: {open}");
        client.0.send("40").await?;
        let connected = client.text().await?;
        ensure!(connected.starts_with("40{"), "not connected: {connected}");
        Ok(client)
    }

    /// Sends an event, and waits for its acknowledgement.
    pub async fn ask(&mut self) -> Result<()> {
        self.0.send(QUESTION).await?;
        let answer = self.text().await?;
        ensure!(answer.starts_with("431["), "no acknowledgement: {answer}");
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
