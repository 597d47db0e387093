//! A server that runs out of file descriptors, which any peer can cause by opening connections.
#![cfg(unix)]

#[path = "support/descriptors.rs"]
mod descriptors;

use std::time::Duration;

use tokio::net::TcpListener;

#[test]
fn row_62_a_server_without_file_descriptors_continues_and_accepts_again() {
    descriptors::check("row_62_a_server_without_file_descriptors_continues_and_accepts_again", serve());
}

/// Serves connections with the loop of the README.
async fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    println!("listening on {}", listener.local_addr().expect("bound"));
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => {
                tokio::spawn(async move {
                    if let Err(error) = echo(tcp).await {
                        eprintln!("{peer}: {error}");
                    }
                });
            }
            Err(error) => {
                eprintln!("accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn echo(tcp: tokio::net::TcpStream) -> Result<(), fullduplex::Error> {
    let mut ws = fullduplex::accept(tcp).await?;
    while let Some(message) = ws.recv().await? {
        ws.feed(message).await?;
    }
    Ok(())
}
