//! Clients that open connections: over HTTP/1.1, and many on one transport of HTTP/2.

use std::time::Duration;

use fullduplex::{Error, http2::Http2};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::{task::JoinSet, time::sleep};

use super::{World, facts::Way, routes::Route, talk::Talk, tasks::resume};

/// Opens connections one after the other, and talks over each.
pub async fn plain(world: World, mut rng: SmallRng) {
    for _ in 0..rng.random_range(1..6) {
        sleep(Duration::from_millis(rng.random_range(0..5000))).await;
        let (way, route) = (Way::default(), Route::random(&mut rng, &world.hosts, false));
        let client = route.client(&world.net, &world.tls, &way, world.config.clone());
        let number = world.ledger.begin_talk(&way);
        world.net.log(format_args!("talk {number} begins over {route:?}"));
        match client.connect(route.target(&format!("/echo/{number}"))).await {
            Ok((ws, _)) => {
                world.net.act(route.name());
                if !ws.extensions().is_empty() {
                    world.net.note("open: compressed");
                }
                let rng = SmallRng::seed_from_u64(rng.random());
                Talk { world: &world, way, number, rng, bytes: 0 }.run(ws).await;
            }
            Err(error) => failed(&world, &way, &error),
        }
    }
}

/// An attempt to connect has failed.
pub fn failed(world: &World, way: &Way, error: &Error) {
    world.net.act("attempt: failed");
    world.net.note_error(error);
    world.net.log(format_args!("an attempt fails with {error:#} after {way}"));
    way.assert_fits(error, "an attempt");
}

/// Opens transports of HTTP/2 one after the other, and talks over several streams of each at once.
pub async fn http2(world: World, mut rng: SmallRng) {
    for _ in 0..rng.random_range(1..3) {
        sleep(Duration::from_millis(rng.random_range(0..5000))).await;
        let (way, route) = (Way::default(), Route::random(&mut rng, &world.hosts, true));
        let client = route.client(&world.net, &world.tls, &way, world.config.clone());
        world.net.log(format_args!("HTTP/2 begins over {route:?}"));
        match client.http2(route.target("/")).await {
            Ok(http2) => {
                world.net.act(route.name());
                let mut streams = JoinSet::new();
                let count = rng.random_range(1..5);
                for _ in 0..count {
                    let rng = SmallRng::seed_from_u64(rng.random());
                    streams.spawn(stream(world.clone(), http2.clone(), route.clone(), way.clone(), rng));
                }
                drop(http2);
                if count > 2 {
                    world.net.note("http2: many streams");
                }
                while let Some(ended) = streams.join_next().await {
                    ended.unwrap_or_else(resume);
                }
            }
            Err(error) => failed(&world, &way, &error),
        }
    }
}

async fn stream(world: World, http2: Http2, route: Route, transport: Way, mut rng: SmallRng) {
    for _ in 0..rng.random_range(1..3) {
        sleep(Duration::from_millis(rng.random_range(0..1000))).await;
        let way = transport.stream();
        let number = world.ledger.begin_talk(&way);
        world.net.log(format_args!("talk {number} begins on a stream"));
        match http2.connect(route.target(&format!("/echo/{number}"))).await {
            Ok((ws, _)) => {
                let rng_of_talk = SmallRng::seed_from_u64(rng.random());
                // More than the server may send without being granted more.
                let bytes = if rng.random_ratio(1, 12) { 400_000 } else { 0 };
                Talk { world: &world, way, number, rng: rng_of_talk, bytes }.run(ws).await;
                let (_, _, returned) = world.ledger.talk(number);
                if bytes > 0 && returned >= 10 {
                    world.net.note("http2: stream beyond its window");
                }
            }
            Err(error) => return failed(&world, &way, &error),
        }
    }
}
