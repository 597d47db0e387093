//! A client that connects again, over TCP, to a server that is restarted under load.
#![cfg(feature = "reconnect")]

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use fullduplex::{
    Client, CloseCode, CloseFrame, Error,
    reconnect::{Backoff, Delivery, Reconnecting},
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

const RESTARTS: usize = 10;
/// A test that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// How often each message was received by the server application.
type Log = Arc<Mutex<HashMap<u32, u32>>>;

/// Listens on an address that another socket may have used just before.
fn listen(address: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.bind(address).expect("a free port");
    socket.listen(64).expect("listening")
}

/// Accepts connections until it is dropped. Once `closing` changes, closes them with code 1012.
async fn serve(listener: TcpListener, log: Log, closing: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let mut stop = closing.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((tcp, _)) = accepted {
                    connections.spawn(acknowledge(tcp, log.clone(), closing.clone()));
                }
            }
            _ = stop.changed() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Logs each message, then acknowledges it by sending it back.
async fn acknowledge(tcp: TcpStream, log: Log, mut closing: watch::Receiver<bool>) -> Result<(), Error> {
    let mut ws = fullduplex::accept(tcp).await?;
    let mut is_closing = false;
    loop {
        let message = tokio::select! {
            message = ws.recv() => message?,
            _ = closing.wait_for(|&closing| closing), if !is_closing => {
                is_closing = true;
                ws.start_close(Some(CloseFrame::new(CloseCode::SERVICE_RESTART, "")?))?;
                continue;
            }
        };
        let Some(message) = message else { return Ok(()) };
        let number = message.as_text().and_then(|text| text.parse().ok()).expect("a number");
        *log.lock().expect("no panic").entry(number).or_default() += 1;
        if !is_closing {
            ws.feed(message).await?;
        }
    }
}

/// What a client observed: the outcome of each message, and what was acknowledged.
struct Observed {
    outcomes: HashMap<u32, Delivery>,
    acknowledged: HashSet<u32>,
    received: HashMap<u32, u32>,
}

/// Sends numbered messages while the server is restarted again and again: killed, or closed.
async fn restart_under_load(kill: bool) -> Observed {
    let log = Log::default();
    let listener = listen(([127, 0, 0, 1], 0).into());
    let address = listener.local_addr().expect("bound");
    let backoff = Backoff::new()
        .min_delay(Duration::from_millis(5))
        .max_spread(Duration::from_millis(20))
        .restart_delay(Duration::from_millis(5)..=Duration::from_millis(20));
    let mut client = Reconnecting::client(Client::default(), format!("ws://{address}").as_str())
        .expect("a valid target")
        .backoff(backoff)
        .build();
    let handle = client.handle();

    let (acknowledged, done) = (Arc::new(Mutex::new(HashSet::new())), watch::Sender::new(false));
    let seen = acknowledged.clone();
    let receiving = tokio::spawn(async move {
        while let Some(message) = client.recv().await.expect("no final error") {
            let number = message.as_text().and_then(|text| text.parse().ok()).expect("a number");
            seen.lock().expect("no panic").insert(number);
        }
    });
    let (sender, mut stop) = (handle.clone(), done.subscribe());
    let sending = tokio::spawn(async move {
        let mut receipts = Vec::new();
        for number in 0_u32.. {
            if *stop.borrow_and_update() {
                break;
            }
            receipts.push((number, sender.send(number.to_string()).await.expect("open")));
            if number % 50 == 0 {
                sleep(Duration::from_millis(1)).await;
            }
        }
        receipts
    });

    let mut listener = Some(listener);
    for _ in 0..RESTARTS {
        let closing = watch::Sender::new(false);
        let listener = listener.take().unwrap_or_else(|| listen(address));
        let server = tokio::spawn(serve(listener, log.clone(), closing.subscribe()));
        let mut state = handle.state();
        state.wait_for(|state| state.is_open()).await.expect("the client runs");
        sleep(Duration::from_millis(30)).await;
        if kill {
            server.abort();
        } else {
            closing.send_replace(true);
        }
        let _ = server.await;
        state.wait_for(|state| !state.is_open()).await.expect("the client runs");
    }
    done.send_replace(true);
    // The last server, to which what is queued is sent.
    let closing = watch::Sender::new(false);
    let server = tokio::spawn(serve(listen(address), log.clone(), closing.subscribe()));
    let mut outcomes = HashMap::new();
    for (number, receipt) in sending.await.expect("no panic") {
        outcomes.insert(number, receipt.await);
    }
    handle.close(CloseCode::NORMAL, "").expect("open");
    receiving.await.expect("no panic");
    server.abort();
    let _ = server.await;
    let received = log.lock().expect("no panic").clone();
    let acknowledged = acknowledged.lock().expect("no panic").clone();
    Observed { outcomes, acknowledged, received }
}

impl Observed {
    /// Asserts what holds in any case.
    fn check(&self) {
        assert!(self.received.values().all(|&times| times == 1), "nothing is sent twice");
        for number in &self.acknowledged {
            assert!(self.received.contains_key(number), "{number} was acknowledged and not received");
            assert_ne!(self.outcomes[number], Delivery::Dropped, "{number}");
        }
        for number in self.received.keys() {
            assert_ne!(self.outcomes[number], Delivery::Dropped, "{number} was received");
        }
        let sent = self.outcomes.values().filter(|&&outcome| outcome == Delivery::Sent).count();
        assert!(sent > RESTARTS && !self.acknowledged.is_empty(), "{sent} sent");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_closes_under_load_has_received_everything_that_was_sent() {
    let observed = timeout(LIMIT, restart_under_load(false)).await.expect("in time");
    observed.check();
    for (number, outcome) in &observed.outcomes {
        if *outcome == Delivery::Sent {
            assert!(observed.received.contains_key(number), "{number} was sent and not received");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_load_loses_nothing_that_it_acknowledged() {
    timeout(LIMIT, restart_under_load(true)).await.expect("in time").check();
}
