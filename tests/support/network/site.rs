//! A server that comes and goes: all of its ports, and what serves them.

use std::{convert::Infallible, future::Future, time::Duration};

use bytes::Bytes;
use fullduplex::{
    CloseCode, Config, Error, Server, WebSocket,
    hub::{Hub, Memory},
    serve::{Session, Shutdown},
};
use http_body_util::Full;
use hyper::{Request, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::TokioIo;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    World,
    end::End,
    facts::{Fact, Way},
    handlers::{self, Purpose},
    routes::{PORTS, Port},
    tasks::Tasks,
};

/// How long a server that stops waits for its connections.
const DRAINS: Duration = Duration::from_secs(10);

/// A server at a host.
pub struct Site {
    world: World,
    host: String,
    backplane: Memory<String>,
    running: Option<Process>,
    rng: SmallRng,
}

/// A process of a server.
#[derive(Clone)]
pub struct Process {
    pub world: World,
    pub hub: Hub<String>,
    pub config: Config,
    tasks: Tasks,
    shutdown: Shutdown,
}

impl Site {
    pub fn new(world: &World, host: &str, backplane: Memory<String>, rng: &mut SmallRng) -> Self {
        let rng = SmallRng::seed_from_u64(rng.random());
        let mut site = Self { world: world.clone(), host: host.to_owned(), backplane, running: None, rng };
        site.start();
        site
    }

    /// Starts a process, unless there is one.
    pub fn start(&mut self) {
        if self.running.is_some() {
            return;
        }
        self.world.net.log(format_args!("{} starts", self.host));
        let ledger = self.world.ledger.clone();
        let hub = Hub::builder()
            .backplane(self.backplane.clone())
            .encode(move |room: &String, position, message| {
                ledger.publish(room, position, message.as_text().unwrap_or_default());
                handlers::encode(position, &message)
            })
            .build();
        let process = Process {
            world: self.world.clone(),
            hub,
            config: self.world.config.clone(),
            tasks: Tasks::default(),
            shutdown: Shutdown::new(),
        };
        for port in PORTS {
            let mut listener = self.world.net.listen(&self.host, port.number);
            let (accepting, mut rng) = (process.clone(), SmallRng::seed_from_u64(self.rng.random()));
            process.tasks.spawn(async move {
                while let Some(end) = listener.recv().await {
                    let process = accepting.clone();
                    let rng = SmallRng::seed_from_u64(rng.random());
                    accepting.tasks.spawn(async move { process.serve(end, port, rng).await });
                }
            });
        }
        self.running = Some(process);
    }

    /// Stops the process: it closes its connections, and waits for them.
    pub async fn stop(&mut self, code: CloseCode) {
        let Some(process) = self.running.take() else { return };
        self.world.net.log(format_args!("{} stops with {code}", self.host));
        self.world.net.tell(&self.host, Fact::Stopped);
        self.world.net.unlisten(&self.host);
        process.shutdown.begin(code, "the server stops").expect("valid");
        process.shutdown.wait(DRAINS).await;
        process.end().await;
    }

    /// Kills the process.
    pub async fn kill(&mut self) {
        let Some(process) = self.running.take() else { return };
        self.world.net.log(format_args!("{} is killed", self.host));
        self.world.net.tell(&self.host, Fact::Killed);
        self.world.net.unlisten(&self.host);
        process.end().await;
    }

    /// Lets the machine fail.
    pub async fn crash(&mut self) {
        let Some(process) = self.running.take() else { return };
        self.world.net.log(format_args!("{} crashes", self.host));
        self.world.net.crash(&self.host);
        self.world.net.unlisten(&self.host);
        process.end().await;
    }
}

impl Process {
    /// Ends all tasks. No member and no room may remain.
    async fn end(self) {
        self.tasks.kill().await;
        assert!(self.hub.is_empty(), "{} members remain", self.hub.len());
        assert!(self.hub.rooms().is_empty(), "rooms remain: {:?}", self.hub.rooms());
    }

    async fn serve(&self, end: End, port: Port, rng: SmallRng) {
        let way = end.way().clone();
        let served = if port.secure {
            let acceptor = self.world.tls.acceptor.clone();
            let acceptor = if port.http2 { acceptor.http2() } else { acceptor };
            match acceptor.accept(end).await {
                Ok(tls) if port.http2 => return self.serve_http2(tls, rng).await,
                Ok(tls) => self.open(tls, &way, rng).await,
                Err(error) => Err(error),
            }
        } else if port.http2 {
            return self.serve_http2(end, rng).await;
        } else {
            self.open(end, &way, rng).await
        };
        check(&way, served);
    }

    /// Opens a connection and runs its handler.
    async fn open<S>(&self, io: S, way: &Way, rng: SmallRng) -> Result<(), Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let request = Server::new(self.config.clone()).read_request(io).await?;
        let purpose = Purpose::of(self, request.request().uri().path());
        let ws = request.accept().await?;
        self.handle(ws, purpose, way, rng).await
    }

    fn handle<S>(
        &self,
        ws: WebSocket<S>,
        purpose: Purpose,
        way: &Way,
        rng: SmallRng,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let session: Session<S> = self.shutdown.guard().attach(ws);
        let (process, way) = (self.clone(), way.clone());
        async move { handlers::run(&process, session, purpose, &way, rng).await }
    }

    async fn serve_http2<S>(&self, io: S, mut rng: SmallRng)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let seeds: u64 = rng.random();
        let process = self.clone();
        let route = service_fn(move |mut request: Request<Incoming>| {
            let process = process.clone();
            async move {
                let talk = handlers::number_of(request.uri().path());
                let way = process.world.ledger.way_of_talk(talk);
                let server = Server::new(process.config.clone());
                let upgraded = fullduplex::hyper::upgrade(&mut request, &server);
                let (response, upgrade) = upgraded.expect("a valid request");
                let rng = SmallRng::seed_from_u64(seeds ^ talk as u64);
                let tasks = process.tasks.clone();
                tasks.spawn(async move {
                    // A stream that ends before is not told why.
                    let Ok(ws) = upgrade.await else { return };
                    check(&way, process.handle(ws, Purpose::Echo { talk }, &way, rng).await);
                });
                Ok::<_, Infallible>(response.map(|()| Full::<Bytes>::default()))
            }
        });
        let mut builder = http2::Builder::new(self.tasks.clone());
        // The date has another length in each second.
        builder.enable_connect_protocol().auto_date_header(false);
        // Its errors are those of hyper.
        let _ = builder.serve_connection(TokioIo::new(io), route).await;
    }
}

/// Asserts that the end of a connection fits what has happened to it.
fn check(way: &Way, served: Result<(), Error>) {
    if let Err(error) = served {
        way.assert_fits(&error, "a server");
    }
}
