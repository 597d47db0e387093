//! The accept loop without file descriptors, which any peer can cause by opening connections.
#![cfg(all(unix, feature = "serve"))]

#[path = "support/descriptors.rs"]
mod descriptors;

use fullduplex::serve::Serve;

#[test]
fn row_62_the_accept_loop_without_file_descriptors_pauses_and_accepts_again() {
    descriptors::check("row_62_the_accept_loop_without_file_descriptors_pauses_and_accepts_again", serve());
}

async fn serve() {
    let serve = Serve::bind("127.0.0.1:0").await.expect("bound");
    println!("listening on {}", serve.local_addr().expect("bound"));
    serve
        .on_failure(|failure| eprintln!("{failure:#}"))
        .run(|mut ws, _| async move {
            while let Some(message) = ws.recv().await? {
                ws.feed(message).await?;
            }
            Ok(())
        })
        .await
        .expect("a valid configuration");
}
