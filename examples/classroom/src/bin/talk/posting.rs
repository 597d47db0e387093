//! Posts the lines of the standard input.

use std::{io, time::Duration};

use fullduplex::calls::{CallError, Peer};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, BufReader, stdin},
    time::sleep,
};

use crate::{
    args::Args,
    output::{Failure, Output},
};

/// The limits of the random pause before a line is posted again that could not be stored: the first
/// one, which is doubled, and the last one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The pause after too many lines.
const RATE_PAUSE: Duration = Duration::from_secs(1);

/// What temporary errors begin with.
const TOO_FAST: &str = "rate:";
const UNAVAILABLE: &str = "unavailable:";

#[derive(Debug, Serialize)]
struct Post<'a> {
    client_id: &'a str,
    text: &'a str,
}

#[derive(Debug, Deserialize)]
struct Posted {
    offset: u64,
    duplicate: bool,
}

/// Returns whether what was refused may succeed later.
pub(crate) fn is_temporary(error: &str) -> bool {
    error.starts_with(TOO_FAST) || error.starts_with(UNAVAILABLE)
}

/// Posts each line, the next one once the one before is stored or refused.
pub(crate) async fn post_lines(args: &Args, peer: &Peer) -> Result<(), Failure> {
    // A line that is lost with its connection is posted again. The server knows its id.
    let peer = peer.with_timeout(None).with_resend(true);
    let random = || format!("{:032x}", rand::random::<u128>());
    let prefix = args.ids.as_ref().map_or_else(random, ToString::to_string);
    let mut lines = BufReader::new(stdin()).lines();
    let mut number = args.first;
    while let Some(text) = lines.next_line().await? {
        let client_id = format!("{prefix}-{number}");
        match post(&peer, &Post { client_id: &client_id, text: &text }).await {
            Ok(Posted { offset, duplicate }) => Output::stored(number, offset, duplicate)?,
            Err(CallError::Refused(error)) => Output::refused(number, &error)?,
            Err(CallError::InvalidData(invalid)) => Output::refused(number, &invalid.to_string())?,
            Err(error @ CallError::MalformedAnswer(_)) => return Err(Failure::Answer(error)),
            // The client has ended; its reason says more.
            Err(CallError::Closed | CallError::Lost) => return std::future::pending().await,
            Err(error) => return Err(io::Error::other(error).into()),
        }
        number += 1;
    }
    Ok(())
}

/// Posts a line until the server has stored it, or refuses it for good.
async fn post(peer: &Peer, post: &Post<'_>) -> Result<Posted, CallError> {
    let mut limit = FIRST_PAUSE;
    loop {
        match peer.call("chat:message", post).await {
            Err(CallError::Refused(error)) if error.starts_with(TOO_FAST) => sleep(RATE_PAUSE).await,
            Err(CallError::Refused(error)) if error.starts_with(UNAVAILABLE) => {
                eprintln!("{error}");
                sleep(limit.mul_f64(rand::random())).await;
                limit = MAX_PAUSE.min(limit * 2);
            }
            outcome => return outcome,
        }
    }
}
