//! The opening handshake: its pure functions, and both ends over a stream in memory.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fullduplex::{
    Client, Config, Server,
    handshake::{HeadScanner, encode_response, parse_extensions, parse_request, respond},
};

/// Returns the request of a browser, with a session cookie.
fn browser_request() -> String {
    format!(
        "GET /chat?room=1 HTTP/1.1\r\nHost: server.example.com\r\nConnection: Upgrade\r\nPragma: no-cache\r\n\
         Cache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         Upgrade: websocket\r\nOrigin: https://server.example.com\r\nSec-WebSocket-Version: 13\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\n\
         Cookie: session={}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
        "0123456789abcdef".repeat(8)
    )
}

fn pure(criterion: &mut Criterion) {
    let request = browser_request().into_bytes();
    let (config, server) = (Config::default(), Server::default());
    let mut group = criterion.benchmark_group("handshake");
    group.throughput(Throughput::Bytes(request.len() as u64));
    group.bench_function("scan", |bencher| {
        bencher.iter(|| HeadScanner::request(&config).scan(black_box(&request)));
    });
    group.bench_function("scan_byte_by_byte", |bencher| {
        bencher.iter(|| {
            let mut scanner = HeadScanner::request(&config);
            (1..=request.len()).find_map(|end| scanner.scan(black_box(&request[..end])).transpose())
        });
    });
    group.bench_function("parse", |bencher| {
        bencher.iter(|| parse_request(black_box(&request), &config));
    });
    group.bench_function("answer", |bencher| {
        bencher.iter(|| {
            let parts = parse_request(black_box(&request), &config).expect("valid").into_parts().0;
            encode_response(&respond(&parts, &server).expect("valid").0)
        });
    });
    group.bench_function("extensions", |bencher| {
        let offer =
            "permessage-deflate; server_max_window_bits=10; client_max_window_bits, permessage-deflate";
        bencher.iter(|| parse_extensions(black_box(offer)).is_ok());
    });
    group.finish();
}

fn over_a_pipe(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client = Client::default();
    criterion.bench_function("handshake/both_ends", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let (near, far) = tokio::io::duplex(4096);
                let (client, server) = tokio::join!(
                    client.handshake("ws://server.example.com/chat", near),
                    fullduplex::accept(far)
                );
                (client.is_ok(), server.is_ok())
            })
        });
    });
}

criterion_group!(benches, pure, over_a_pipe);
criterion_main!(benches);
