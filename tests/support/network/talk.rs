//! A connection to the echo server, from its opening to its end.

use std::time::Duration;

use fullduplex::{CloseCode, CloseFrame, Closing, Error, Message, Receiver, Sender, WebSocket};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::sleep,
};

use super::{
    World,
    content::length,
    facts::{Fact, Way},
    handlers::BYE,
};

/// How the client ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Closes once all echoes have arrived.
    Close,
    /// Begins to close behind the last message, and still receives.
    CloseEarly,
    /// Asks the server to close.
    ByServer,
    /// Drops the connection.
    Drop,
}

/// One connection.
pub struct Talk<'a> {
    pub world: &'a World,
    pub way: Way,
    pub number: usize,
    pub rng: SmallRng,
    /// The least number of bytes to send in all.
    pub bytes: usize,
}

impl Talk<'_> {
    /// Talks over a new connection, and asserts that it ends as it has to.
    pub async fn run<S>(mut self, ws: WebSocket<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let ending = match self.rng.random_range(0..10) {
            0..4 => Ending::Close,
            4..7 => Ending::CloseEarly,
            7..9 => Ending::ByServer,
            _ => Ending::Drop,
        };
        let messages = self.lengths();
        let ended = if self.rng.random_ratio(1, 3) {
            self.in_turns(ws, &messages, ending).await
        } else {
            self.at_once(ws, &messages, ending).await
        };
        self.check(ended, ending);
    }

    /// Returns the lengths of the messages to send.
    fn lengths(&mut self) -> Vec<usize> {
        let mut lengths: Vec<_> = (0..self.rng.random_range(0..25)).map(|_| length(&mut self.rng)).collect();
        while lengths.iter().sum::<usize>() < self.bytes {
            lengths.push(40_000);
        }
        lengths
    }

    /// Waits for each echo before the next message.
    async fn in_turns<S>(
        &mut self,
        mut ws: WebSocket<S>,
        messages: &[usize],
        ending: Ending,
    ) -> Result<Option<CloseFrame>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let ledger = &self.world.ledger;
        for &len in messages {
            let sent = ws.send(ledger.say(self.number, len)).await;
            if !self.went(sent)? {
                break;
            }
            let Some(echo) = ws.recv().await? else { return Ok(close_of(ws.closing(), ws.close_frame())) };
            self.world.net.act("message: echoed");
            ledger.hear_echo(self.number, &echo);
            pause(&mut self.rng, 40).await;
        }
        match ending {
            Ending::Drop => {
                self.way.add(Fact::Dropped);
                return Ok(None);
            }
            Ending::Close | Ending::CloseEarly => {
                let frame = CloseFrame::new(CloseCode::NORMAL, "done")?;
                self.went(ws.start_close(Some(frame)))?;
            }
            Ending::ByServer => _ = self.went(ws.send(BYE).await)?,
        }
        while let Some(echo) = ws.recv().await? {
            ledger.hear_echo(self.number, &echo);
        }
        Ok(close_of(ws.closing(), ws.close_frame()))
    }

    /// Sends all messages while the echoes arrive.
    async fn at_once<S>(
        &mut self,
        ws: WebSocket<S>,
        messages: &[usize],
        ending: Ending,
    ) -> Result<Option<CloseFrame>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (receiver, sender) = ws.split();
        let mut rngs = [(); 2].map(|()| SmallRng::seed_from_u64(self.rng.random()));
        let [of_sender, of_receiver] = &mut rngs;
        let sending = self.send_all(&sender, messages, ending, of_sender);
        let closes_at = (ending == Ending::Close).then_some(messages.len());
        if ending == Ending::Drop {
            // Some echoes may never be received.
            let receiving = self.receive(receiver, None, of_receiver);
            let result = tokio::select! {
                biased;
                received = receiving => received,
                sent = sending => sent.map(|()| None),
            };
            self.way.add(Fact::Dropped);
            return result;
        }
        let (sent, received) = tokio::join!(sending, self.receive(receiver, closes_at, of_receiver));
        // What ends a connection is returned once, to one of them.
        sent.and(received)
    }

    async fn send_all(
        &self,
        sender: &Sender,
        messages: &[usize],
        ending: Ending,
        rng: &mut SmallRng,
    ) -> Result<(), Error> {
        for &len in messages {
            let message = self.world.ledger.say(self.number, len);
            let sent = if rng.random() { sender.feed(message).await } else { sender.send(message).await };
            if !self.went(sent)? {
                return Ok(());
            }
            if rng.random_ratio(1, 20) {
                pause(rng, 1).await;
            }
        }
        match ending {
            Ending::CloseEarly => {
                let frame = CloseFrame::new(CloseCode::NORMAL, "done")?;
                self.went(sender.start_close(Some(frame)))?;
            }
            Ending::ByServer => _ = self.went(sender.send(BYE).await)?,
            Ending::Close => _ = self.went(sender.flush().await)?,
            Ending::Drop => {}
        }
        Ok(())
    }

    /// Receives until the end. Closes once it has received this many echoes.
    async fn receive<S>(
        &self,
        mut receiver: Receiver<S>,
        closes_at: Option<usize>,
        rng: &mut SmallRng,
    ) -> Result<Option<CloseFrame>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut echoes = 0;
        loop {
            if closes_at == Some(echoes) {
                let frame = CloseFrame::new(CloseCode::NORMAL, "done")?;
                self.went(receiver.sender().start_close(Some(frame)))?;
            }
            let Some(echo) = receiver.recv().await? else {
                return Ok(close_of(receiver.closing(), receiver.close_frame()));
            };
            self.hear(&echo);
            echoes += 1;
            if rng.random_ratio(1, 60) {
                self.world.net.act("talk: paused reader");
                self.way.add(Fact::Paused);
                sleep(Duration::from_millis(rng.random_range(1000..9000))).await;
            }
        }
    }

    fn hear(&self, echo: &Message) {
        self.world.net.act("message: echoed");
        self.world.ledger.hear_echo(self.number, echo);
    }

    /// Returns whether a message was sent: otherwise receiving returns why the connection has ended.
    fn went(&self, sent: Result<(), Error>) -> Result<bool, Error> {
        match sent {
            Ok(()) => Ok(true),
            Err(Error::Closed) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Asserts that the end fits what has happened, and that nothing is missing.
    fn check(&self, ended: Result<Option<CloseFrame>, Error>, ending: Ending) {
        let net = &self.world.net;
        let (sent, received, returned) = self.world.ledger.talk(self.number);
        let what = format_args!("talk {}", self.number);
        net.log(format_args!("{what} of {ending:?} ends: {sent} sent, {received} received, {returned} back"));
        match ended {
            Err(error) => {
                net.log(format_args!("{what} ends with {error:#} after {}", self.way));
                net.note("talk: lost");
                self.way.assert_fits(&error, "a client");
                net.note_error(&error);
            }
            Ok(None) if ending == Ending::Drop => net.note("talk: dropped"),
            // After `close_timeout`, which is no error.
            Ok(None) => {
                net.note("talk: Close without an answer");
                let closes = matches!(ending, Ending::Close | Ending::CloseEarly);
                assert!(closes && self.way.is_delayed(), "{what}: the end without a Close is no error");
            }
            Ok(Some(frame)) if frame.code() == CloseCode::NORMAL => {
                net.note(match ending {
                    Ending::ByServer => "talk: closed by the server",
                    Ending::CloseEarly => "talk: closed early",
                    _ => "talk: closed by the client",
                });
                // The Close may have overtaken nothing.
                let complete = received == sent && returned == sent;
                let stopped = self.way.has(&[Fact::Stopped]);
                assert!(
                    complete || stopped,
                    "{what} is closed: {sent} sent, {received} received, {returned} back"
                );
            }
            Ok(Some(frame)) => {
                net.note("talk: server stopped");
                self.way.assert_closes(frame.code());
            }
        }
    }
}

/// Returns the Close of the server, if the closing handshake is complete. `None`: there is an
/// error, which was returned already.
fn close_of(closing: Closing, frame: Option<&CloseFrame>) -> Option<CloseFrame> {
    (closing == Closing::Complete).then(|| frame.expect("the server sends a code").clone())
}

/// Waits now and then.
async fn pause(rng: &mut SmallRng, one_of: u32) {
    if rng.random_ratio(1, one_of) {
        sleep(Duration::from_millis(rng.random_range(1..2000))).await;
    }
}
