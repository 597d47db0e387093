//! The server: an echo server as the guides of the crate recommend it, in a process of its own, on a
//! core of its own.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use fullduplex::{
    CloseCode, Error, Server,
    serve::{Failure, Incoming, Metrics, Serve, ServerStream, Session, Shutdown},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::{TcpListener, TcpSocket},
    runtime::Handle,
    time::sleep,
};

use crate::{
    child::{self, Counts, STAT},
    limits::{PER_ADDRESS, SEND_BUFFER, config, max_connections},
    machine,
    rows::Row,
};

/// The counts of the server that have no label.
pub const PORT: &str = "port";
pub const OPEN: &str = "open";
pub const TASKS: &str = "tasks";
pub const PANICS: &str = "panics";
pub const ACCEPT_ERRORS: &str = "accept errors";

/// The connections that may wait to be accepted.
const BACKLOG: u32 = 4_096;

/// The arguments of the server.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// How many clients there will be.
    #[arg(long)]
    clients: usize,
    /// The deadline of opening handshakes, messages and writes, in milliseconds.
    #[arg(long)]
    deadline: u64,
}

impl ServerArgs {
    /// Returns the arguments that start the server.
    pub fn of(clients: usize, deadline: Duration) -> Vec<String> {
        let deadline = deadline.as_millis();
        ["server", "--clients", &clients.to_string(), "--deadline", &deadline.to_string()]
            .map(str::to_owned)
            .to_vec()
    }
}

/// Counts how connections have ended, by what their clients do.
#[derive(Debug, Default)]
struct Ends(Mutex<BTreeMap<String, u64>>);

/// Runs the server until its standard input ends. Prints its port once it accepts connections.
pub async fn run(args: &ServerArgs) -> Result<()> {
    machine::pin_to(machine::SERVER_CORE);
    machine::raise_file_limit()?;
    let listener = listen()?;
    let port = listener.local_addr()?.port();
    let (metrics, shutdown) = (Metrics::new(), Shutdown::new());
    // For the life of the process.
    let ends: &'static Ends = Box::leak(Box::default());
    let serve = Serve::new(listener)
        .server(Server::new(config(Duration::from_millis(args.deadline))))
        .shutdown(&shutdown)
        .metrics(&metrics)
        .max_connections(max_connections(args.clients))
        .max_connections_per(PER_ADDRESS, |request| request.peer().ip())
        .on_failure(report)
        .run(move |session, request| attend(session, request, ends));
    child::answer(&Counts::from([(PORT.to_owned(), port.into())]))?;
    tokio::select! {
        done = serve => Ok(done?),
        ended = take_orders(&metrics, ends) => ended,
    }
}

fn listen() -> Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // Accepted sockets have the same size.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    Ok(socket.listen(BACKLOG)?)
}

/// Failures of hostile peers are counted, not logged.
fn report(failure: Failure) {
    if let Failure::Accept(error) = failure {
        eprintln!("abuse: the server cannot accept: {error}");
    }
}

fn attend(
    session: Session<ServerStream>,
    request: Incoming,
    ends: &'static Ends,
) -> impl Future<Output = Result<(), Error>> {
    let row = Row::of_path(request.path());
    drop(request);
    // An `async fn` would hold the session twice: as its argument too.
    async move {
        let mut session = session;
        let work = row.and_then(Row::work);
        let ended = echo(&mut session, work).await;
        ends.count(row, &session, &ended);
        ended
    }
}

/// Sends back every message. `recv` writes what was fed before it waits.
async fn echo(session: &mut Session<ServerStream>, work: Option<Duration>) -> Result<(), Error> {
    while let Some(message) = session.recv().await? {
        if let Some(work) = work {
            sleep(work).await;
        }
        session.feed(message).await?;
    }
    Ok(())
}

impl Ends {
    fn count(&self, row: Option<Row>, session: &Session<ServerStream>, ended: &Result<(), Error>) {
        let end = match ended {
            Ok(()) => match session.close_frame() {
                Some(frame) => format!("Close {} of the client", u16::from(frame.code())),
                None => format!("Close {} of the client", u16::from(CloseCode::NO_STATUS)),
            },
            Err(error) if error.is_disconnect() && !matches!(error, Error::Timeout(_)) => {
                "client gone".to_owned()
            }
            Err(error) => match error.close_code() {
                Some(code) => format!("{}, {}", u16::from(code), describe(error)),
                None => describe(error),
            },
        };
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *ends.entry(end_name(row, &end)).or_default() += 1;
    }

    fn counts(&self) -> Counts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Returns an error in few words.
fn describe(error: &Error) -> String {
    match error {
        Error::Protocol(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// Returns the name of the count of connections that have ended so.
pub fn end_name(row: Option<Row>, end: &str) -> String {
    match row {
        Some(row) => format!("row {}: {end}", row.number()),
        None => format!("honest: {end}"),
    }
}

async fn take_orders(metrics: &Metrics, ends: &Ends) -> Result<()> {
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(order) = orders.next_line().await.context("cannot read the standard input")? {
        match order.as_str() {
            STAT => child::answer(&counts(metrics, ends))?,
            other => bail!("no such order: {other}"),
        }
    }
    Ok(())
}

fn counts(metrics: &Metrics, ends: &Ends) -> Counts {
    let mut counts = ends.counts();
    let snapshot = metrics.snapshot();
    counts.extend([
        (OPEN.to_owned(), snapshot.open),
        (TASKS.to_owned(), Handle::current().metrics().num_alive_tasks() as u64),
        (PANICS.to_owned(), snapshot.panics),
        (ACCEPT_ERRORS.to_owned(), snapshot.accept_errors),
    ]);
    for (refusal, count) in snapshot.refused {
        counts.insert(refused_name(refusal.as_str()), count);
    }
    counts
}

/// Returns the name of the count of connections that were refused for this reason.
pub fn refused_name(reason: &str) -> String {
    format!("refused: {reason}")
}
