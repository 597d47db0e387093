//! Servers: an accept loop with limits, graceful shutdown, and metrics.
//!
//! [`Serve`] accepts connections and runs a handler for each. [`Shutdown`] closes them, and
//! [`Metrics`] counts them; both also work with an accept loop of one's own, axum or hyper.
//! [`ProxyHeader`] reads the header of the PROXY protocol.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use fullduplex::{CloseCode, Error, serve::{Incoming, Metrics, Serve, Shutdown}};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Error> {
//!     let (shutdown, metrics) = (Shutdown::new(), Metrics::new());
//!     let stopping = shutdown.clone();
//!     tokio::spawn(async move {
//!         tokio::signal::ctrl_c().await.ok();
//!         stopping.begin(CloseCode::GOING_AWAY, "the server stops")
//!     });
//!     Serve::bind("127.0.0.1:9001")
//!         .await?
//!         .shutdown(&shutdown)
//!         .metrics(&metrics)
//!         .max_connections_per(20, Incoming::network)
//!         .on_failure(|failure| eprintln!("{failure:#}"))
//!         .run(|mut ws, request| async move {
//!             println!("{} {}", request.peer(), request.path());
//!             drop(request);
//!             while let Some(message) = ws.recv().await? {
//!                 ws.feed(message).await?;
//!             }
//!             Ok(())
//!         })
//!         .await?;
//!     let drained = shutdown.wait(Duration::from_secs(10)).await;
//!     println!("{} cut off, {} served", drained.cut_off, metrics.snapshot().opened);
//!     Ok(())
//! }
//! ```

mod accept;
mod builder;
mod closable;
mod failure;
mod guard;
mod incoming;
mod limits;
mod metrics;
mod opening;
mod proxy_header;
mod registry;
mod session;
mod shutdown;
mod slab;
mod stream;

pub use builder::Serve;
pub use closable::Closable;
pub use failure::Failure;
pub use guard::Guard;
pub use incoming::{Decision, Incoming};
pub use metrics::{Metrics, Refusal, Snapshot};
pub use proxy_header::{InvalidProxyHeader, ProxyHeader};
pub use session::Session;
pub use shutdown::{Drained, Shutdown};
pub use stream::ServerStream;
