//! One connection after the other, until the server or the user ends it.

use std::{future::Future, pin::Pin};

use fullduplex::{
    CloseCode, Error,
    reconnect::{Delivery, Receipt, Reconnecting, State},
};
use tokio::time::Instant;

use crate::{
    args::Args,
    failure::Failure,
    input::{read_messages, watch_for_interrupts},
    output::Output,
};

type Sending = Pin<Box<dyn Future<Output = Result<Receipt, Error>>>>;

pub(crate) async fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let client = args.client().map_err(Failure::Opening)?;
    let opening = Reconnecting::client(client, args.url.as_str());
    let mut client = opening.map_err(Failure::Opening)?.build();
    let handle = client.handle();
    let mut states = handle.state();
    let mut messages = read_messages(args);
    let interrupted = watch_for_interrupts()?;
    let mut open = true;
    // A message that waits for room in the queue. No further one is read meanwhile.
    let mut sending: Option<Sending> = None;
    loop {
        tokio::select! {
            received = client.recv() => match received {
                Ok(Some(message)) => output.message(&message)?,
                Ok(None) => return Ok(()),
                Err(reason) => return Err(Failure::GivenUp(reason)),
            },
            Ok(()) = states.changed() => {
                let state = describe(&states.borrow_and_update());
                if let Some(state) = state {
                    output.state(&state)?;
                }
            }
            message = messages.recv(), if open && sending.is_none() => match message {
                Some(message) => {
                    let (handle, message) = (handle.clone(), message?);
                    sending = Some(Box::pin(async move { handle.send(message).await }));
                }
                None => {
                    open = false;
                    handle.close(CloseCode::NORMAL, "")?;
                }
            },
            queued = async { sending.as_mut().expect("checked before").await }, if sending.is_some() => {
                sending = None;
                tokio::spawn(report(output, queued?));
            }
            () = interrupted.notified() => {
                (open, sending) = (false, None);
                handle.close(CloseCode::NORMAL, "interrupted")?;
                output.note("closing; Ctrl-C again ends it at once");
            }
        }
    }
}

/// Prints the outcome of a message that may not have reached the server.
async fn report(output: Output, receipt: Receipt) {
    match receipt.await {
        Delivery::Sent => {}
        Delivery::Unknown => output.note("a line may not have reached the server"),
        _ => output.note("a line was not sent"),
    }
}

/// Returns a description of a state; `None` for the end, which is reported by itself.
fn describe(state: &State) -> Option<String> {
    Some(match state {
        State::Connecting { .. } => "connecting".into(),
        State::Open => "connected".into(),
        State::Waiting { until, why, .. } => {
            let seconds = until.saturating_duration_since(Instant::now()).as_secs_f64();
            format!("{why:#}; connecting again in {seconds:.1} s")
        }
        _ => return None,
    })
}
