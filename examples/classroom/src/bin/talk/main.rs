//! Talks in a room of the classroom from a terminal or a script.
//!
//! ```text
//! cargo run -p classroom --bin talk -- 'http://127.0.0.1:3000/#ticket=...' --name Ann
//! ```
//!
//! It posts each line of its standard input, the next one once the server has stored the one before,
//! and prints each message of the room once, in order, over as many connections as that takes.

mod args;
mod output;
mod posting;
mod room;
mod token;

use std::{process::ExitCode, sync::Arc};

use clap::Parser;
use fullduplex::{
    Client, ClientStream, CloseCode, WebSocket,
    calls::{CallError, Context, Peer, Router},
    reconnect::{Backoff, Handle, Reason, Reconnecting, Verdict},
};
use tokio::{runtime, signal};

use self::{
    args::Args,
    output::{Failure, Output},
    room::{Lost, Message, Room},
    token::{Entry, Refused},
};

/// The codes of a Close after which the server would refuse another connection.
const FINAL_CODES: std::ops::RangeInclusive<u16> = 4001..=4005;

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let result = runtime.block_on(run(args));
    // A thread may still be waiting for a line.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failed(&failure),
    }
}

fn failed(failure: &Failure) -> ExitCode {
    eprintln!("talk: {failure}");
    ExitCode::FAILURE
}

async fn run(args: Args) -> Result<(), Failure> {
    let entry = Arc::new(Entry::new(&args));
    let client = Client::new(args.connection()).subprotocol("classroom.v1");
    let connect = {
        let entry = entry.clone();
        move |_attempt| connect(entry.clone(), client.clone())
    };
    let reconnecting = Reconnecting::builder(connect)
        .backoff(Backoff::new().max_spread(args.max_delay()))
        .attempt_timeout(args.attempt_timeout())
        .classify(|why, _attempt| if is_final(why) { Verdict::Stop } else { Verdict::Default })
        .build();
    let room = Arc::new(Room::default());
    let router = Router::new()
        .on("chat:message", async |context: Context<Arc<Room>>, message: Message| {
            context.state().received(message);
            Ok(())
        })
        .on("chat:private", async |context: Context<Arc<Room>>, message: Message| {
            context.state().received(message);
            Ok(())
        })
        .on("history:lost", async |context: Context<Arc<Room>>, lost: Lost| {
            context.state().lost(&lost);
            Ok(())
        });
    let attached = router.attach(reconnecting, room.clone()).on_open(move |peer, _opened| {
        let (room, role) = (room.clone(), entry.role());
        async move { room.join(&peer, role).await }
    });
    let peer = attached.peer().clone();
    let mut running = std::pin::pin!(attached.run());
    if let Some(handle) = peer.handle() {
        tokio::spawn(report_states(handle.clone()));
    }
    tokio::select! {
        ended = &mut running => return ended.map_err(Failure::Ended),
        posted = posting::post_lines(&args, &peer) => posted?,
        interrupted = signal::ctrl_c() => interrupted?,
    }
    close(&peer)?;
    match running.await {
        Ok(()) | Err(Reason::Requested) => Ok(()),
        Err(reason) => Err(Failure::Ended(reason)),
    }
}

/// Closes the connection. It is closed already if the client has ended.
fn close(peer: &Peer) -> Result<(), Failure> {
    match peer.close(CloseCode::NORMAL, "") {
        Ok(()) | Err(fullduplex::Error::Closed) => Ok(()),
        Err(error) => Err(Failure::Closing(error)),
    }
}

/// Opens a connection, with a token of its own: they are valid for some minutes only.
async fn connect(
    entry: Arc<Entry>,
    client: Client,
) -> Result<(WebSocket<ClientStream>, hyper::Response<()>), fullduplex::Error> {
    let token = entry.token().await?;
    client.bearer_token("bearer.", token).connect(entry.url()).await
}

/// Returns whether another attempt would fail in the same way.
fn is_final(why: &Reason) -> bool {
    match why {
        Reason::Failed(error) => matches!(
            &**error,
            fullduplex::Error::Transport(error) if Refused::of(error).is_some_and(Refused::is_final)
        ),
        Reason::Hook(error) => match error.downcast_ref() {
            Some(CallError::Refused(text)) => !posting::is_temporary(text),
            _ => false,
        },
        why => why.close_code().is_some_and(|code| FINAL_CODES.contains(&code.get())),
    }
}

/// Prints when the connection is open, and why it is not.
async fn report_states(handle: Handle) {
    let mut states = handle.state();
    while states.changed().await.is_ok() {
        let state = states.borrow_and_update().clone();
        Output::state(&state);
    }
}
