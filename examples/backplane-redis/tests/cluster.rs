//! What a backplane guarantees, on a cluster.

#[path = "../../../tests/support/backplane.rs"]
mod backplane;
mod support;

use std::{collections::HashSet, future::Future, thread, time::Duration};

use backplane::{Engine, Node, Seat, publish_at_once, room, soon};
use fullduplex::hub::{BackplaneError, Event, Position};
use fullduplex_backplane_redis::Redis;
use support::{
    Server, changed,
    cluster::{Cluster, SOON, Shared},
    connected, free_port, short,
};
use tokio::{sync::watch, task::JoinSet, time::sleep};

contract_tests!(Shared::start());

/// Returns the events that say that something went wrong.
fn troubles(node: &mut Node) -> Vec<Event<String>> {
    node.arrived(|event| matches!(event, Event::Lost { .. } | Event::BackplaneAway))
}

fn stored(published: &[(Position, String)]) -> Vec<String> {
    published.iter().map(|(position, text)| format!("{position}|{text}")).collect()
}

/// Publishes in a task, while something happens to the cluster. Returns what was published.
async fn publish_during<T>(
    nodes: [&Node; 2],
    rooms: &[&str],
    change: impl Future<Output = T>,
) -> (Vec<Vec<(Position, String)>>, T) {
    let (stop, stopped) = watch::channel(false);
    let mut publishing = JoinSet::new();
    for (index, &room) in rooms.iter().enumerate() {
        let (hubs, room, stopped) = (nodes.map(|node| node.hub.clone()), room.to_owned(), stopped.clone());
        publishing.spawn(async move {
            let mut published = Vec::new();
            while !*stopped.borrow() {
                let text = format!("{room} {}", published.len());
                let hub = &hubs[published.len() % 2];
                let position = soon(&text, hub.publish(&room, &*text)).await.expect("published").position;
                published.push((position, text));
            }
            (index, published)
        });
    }
    let changed = change.await;
    stop.send_replace(true);
    let mut published = publishing.join_all().await;
    published.sort_by_key(|(index, _)| *index);
    (published.into_iter().map(|(_, published)| published).collect(), changed)
}

async fn joined(node: &Node, rooms: &[&str]) -> Vec<Seat> {
    let mut seats = Vec::new();
    for room in rooms {
        seats.push(node.joined(room).await);
    }
    seats
}

/// Asserts that members receive what was published, once and in order, and what is published then.
async fn assert_received(
    node: &Node,
    rooms: &[&str],
    seats: [&mut [Seat]; 2],
    published: &[Vec<(Position, String)>],
) {
    let [at_one, at_two] = seats;
    for (index, room) in rooms.iter().enumerate() {
        let (a, b) = (&mut at_one[index], &mut at_two[index]);
        let expected = stored(&published[index]);
        assert_eq!(a.take(expected.len()).await, expected, "{room}");
        assert_eq!(b.take(expected.len()).await, expected, "{room}");
        let position = node.publish(room, "end").await;
        assert_eq!(
            (a.stored().await, b.stored().await),
            ((position, "end".into()), (position, "end".into()))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_are_spread_over_all_servers() {
    let shared = Shared::start();
    let (mut one, mut two) = (shared.node().await, shared.node().await);
    let rooms: Vec<String> = (0..50).map(|number| format!("class {number}")).collect();
    let owners: HashSet<usize> = rooms.iter().map(|room| shared.cluster().owner(room)).collect();
    assert_eq!(owners.len(), 3);
    let mut seats = Vec::new();
    for room in &rooms {
        seats.push((one.joined(room).await, two.joined(room).await));
    }
    for (room, (a, b)) in rooms.iter().zip(&mut seats) {
        soon("entering", a.member.enter(room, "ann")).await.expect("entered");
        assert_eq!(two.entered(a.id()).await.data, "ann");
        assert_eq!(two.present(room).await, [a.id()]);
        let published = publish_at_once(&[&one.hub, &two.hub], room, 2, 5).await;
        assert_eq!(a.take(10).await, stored(&published));
        assert_eq!(b.take(10).await, stored(&published));
        // In the order of the calls.
        for number in 0..3 {
            one.hub.to(room).send(format!("{number}")).await;
        }
        assert_eq!((a.take(3).await, b.take(3).await), (numbers(3), numbers(3)));
    }
    // To members and hubs, whatever their rooms are.
    one.hub.to_all().send("to all").await;
    for (a, b) in &mut seats {
        assert_eq!((a.next().await, b.next().await), ("to all".into(), "to all".into()));
    }
    one.hub.to_one(seats[0].1.id()).send("to one").await;
    assert_eq!(seats[0].1.next().await, "to one");
    one.hub.signal("signal").expect("reachable");
    let signal = |event| matches!(event, Event::Signal(message) if message == "signal".into()).then_some(());
    two.event("a signal", signal).await;
    assert_eq!((troubles(&mut one), troubles(&mut two)), (vec![], vec![]));
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_published_while_slots_are_moved_arrive_once_in_order() {
    let cluster = Cluster::start(3);
    let (mut one, mut two) = (cluster.node().await, cluster.node().await);
    let rooms = ["a", "b", "c"];
    let (mut at_one, mut at_two) = (joined(&one, &rooms).await, joined(&two, &rooms).await);
    soon("entering", at_one[0].member.enter(&room("a"), "ann")).await.expect("entered");
    two.entered(at_one[0].id()).await;
    let moves = changed(cluster, move |cluster| {
        for round in 0..3 {
            for room in rooms {
                let server = |index: usize| &cluster.primaries[(cluster.owner(room) + round + index) % 3];
                cluster.move_slot(room, server(0), server(1));
            }
        }
    });
    let (published, _cluster) = publish_during([&one, &two], &rooms, moves).await;
    assert!(published.iter().all(|published| published.len() > 20), "{published:?}");
    assert_received(&one, &rooms, [&mut at_one, &mut at_two], &published).await;
    assert_eq!((troubles(&mut one), troubles(&mut two)), (vec![], vec![]));
    assert_eq!(two.present("a").await, [at_one[0].id()]);
    soon("entering", at_two[0].member.enter(&room("a"), "bea")).await.expect("entered");
    one.entered(at_two[0].id()).await;
    one.hub.to(&room("a")).send("not stored").await;
    assert_eq!((at_one[0].next().await, at_two[0].next().await), ("not stored".into(), "not stored".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_not_stored_arrive_in_order_and_once_or_not_at_all_while_slots_are_moved() {
    let cluster = Cluster::start(2);
    let (one, two) = (cluster.node().await, cluster.node().await);
    // Rooms of the same server, whose connection is in use whenever it ends a subscription.
    let rooms: Vec<String> =
        (0..).map(|n| n.to_string()).filter(|room| cluster.owner(room) == 0).take(20).collect();
    let names: Vec<&str> = rooms.iter().map(String::as_str).collect();
    let (mut at_one, mut at_two) = (joined(&one, &names).await, joined(&two, &names).await);
    let moved = rooms[1..].to_vec();
    let moves = changed(cluster, move |cluster| {
        for room in &moved {
            cluster.move_slot(room, &cluster.primaries[0], &cluster.primaries[1]);
        }
    });
    let sending = {
        let (hub, room) = (one.hub.clone(), rooms[0].clone());
        tokio::spawn(async move {
            for number in 0_u64.. {
                hub.to(&room).send(number.to_string()).await;
                tokio::time::sleep(Duration::from_micros(300)).await;
            }
        })
    };
    let (published, _cluster) = publish_during([&one, &two], &names[1..], moves).await;
    sending.abort();
    assert_received(&one, &names[1..], [&mut at_one[1..], &mut at_two[1..]], &published).await;
    one.publish(names[0], "end").await;
    let mut received: Vec<u64> = Vec::new();
    loop {
        let message = at_two[0].next().await;
        match message.parse() {
            Ok(number) => received.push(number),
            Err(_) if message.ends_with("|end") => break,
            Err(_) => panic!("{message}"),
        }
    }
    assert!(received.len() > 100 && received.is_sorted_by(|a, b| a < b), "{received:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_are_moved_to_a_server_that_was_added() {
    let mut cluster = Cluster::start(1);
    let (mut one, mut two) = (cluster.node().await, cluster.node().await);
    let rooms = ["a"];
    let (mut at_one, mut at_two) = (joined(&one, &rooms).await, joined(&two, &rooms).await);
    let added = Cluster::server(&[]);
    cluster.meet(&added);
    cluster.primaries.push(added);
    cluster.wait_until_formed();
    let moving = changed(cluster, |cluster| {
        cluster.move_slot("a", &cluster.primaries[0], &cluster.primaries[1]);
    });
    let (published, cluster) = publish_during([&one, &two], &rooms, moving).await;
    assert_received(&one, &rooms, [&mut at_one, &mut at_two], &published).await;
    assert_eq!((troubles(&mut one), troubles(&mut two)), (vec![], vec![]));
    assert!(cluster.primaries[1].command::<usize>(&["EXISTS", "fullduplex:{room:a}:state"]) == 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_without_messages_waits_while_its_slot_is_moved_and_others_go_on() {
    let shared = Shared::start();
    let (cluster, redis) = (shared.cluster(), shared.builder().build().expect("valid"));
    let mut node = connected(&redis).await;
    let mut beside = node.joined("other").await;
    let server = |index: usize| &cluster.primaries[(cluster.owner("new") + index) % 3];
    let move_on = cluster.begin_to_move("new", server(0), server(1));
    let waiting = {
        let (hub, seat) = (node.hub.clone(), node.seat());
        tokio::spawn(async move {
            seat.member.join(&room("new")).await.expect("joined");
            let published = hub.publish(&room("new"), "a").await.expect("published");
            (seat, published.position)
        })
    };
    // Longer than the library waits.
    for number in 0..25 {
        node.publish("other", number.to_string()).await;
        assert_eq!(beside.stored().await.1, number.to_string());
        sleep(Duration::from_millis(100)).await;
    }
    assert!(!waiting.is_finished());
    move_on();
    let (mut seat, position) = soon("publishing", waiting).await.expect("no panic");
    assert_eq!(seat.stored().await, (position, "a".into()));
    assert_eq!(troubles(&mut node), [], "{:?}", redis.last_error());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_takes_over_in_agreement_loses_nothing() {
    let cluster = Cluster::with_replicas(3);
    let (mut one, mut two) = (cluster.node().await, cluster.node().await);
    let rooms = ["a", "b", "c"];
    let (mut at_one, mut at_two) = (joined(&one, &rooms).await, joined(&two, &rooms).await);
    let taking_over = changed(cluster, |cluster| {
        cluster.hand_over(cluster.owner("a"));
        thread::sleep(Duration::from_millis(500));
    });
    let (published, _cluster) = publish_during([&one, &two], &rooms, taking_over).await;
    assert_received(&one, &rooms, [&mut at_one, &mut at_two], &published).await;
    let lost = |event: &Event<String>| matches!(event, Event::Lost { .. });
    assert_eq!((one.arrived(lost), two.arrived(lost)), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_replaces_a_primary_that_was_killed() {
    let cluster = Cluster::with_replicas(3);
    let (mut one, mut two) = (cluster.node().await, cluster.node().await);
    let rooms = ["a", "b", "c"];
    let (mut at_one, mut at_two) = (joined(&one, &rooms).await, joined(&two, &rooms).await);
    soon("entering", at_one[0].member.enter(&room("a"), "ann")).await.expect("entered");
    let before = publish_at_once(&[&one.hub, &two.hub], "a", 4, 25).await;
    let index = cluster.owner("a");
    // All of it is replicated.
    assert_eq!(at_one[0].take(100).await, stored(&before));
    cluster.wait_until_replicated(index);
    let cluster = changed(cluster, move |cluster| cluster.primaries[index].kill()).await;
    one.available(false).await;
    two.available(false).await;
    assert!(matches!(one.hub.read_before(&room("a"), None, 9).await, Err(BackplaneError::Away)));
    let waiting = publish_at_once(&[&one.hub, &two.hub], "a", 4, 5).await;
    one.available(true).await;
    two.available(true).await;
    assert!(cluster.replicas[index].is_primary());
    assert_eq!(at_one[0].take(20).await, stored(&waiting));
    assert_eq!(at_two[0].take(120).await, [stored(&before), stored(&waiting)].concat());
    assert_eq!(waiting[0].0, Position { offset: before[99].0.offset + 1, ..before[99].0 });
    let page = one.hub.read_before(&room("a"), None, 200).await.expect("reachable");
    assert_eq!(page.messages.len(), 120);
    assert_eq!(two.present("a").await, [at_one[0].id()]);
    assert_eq!((troubles(&mut one), troubles(&mut two)), (vec![], vec![]));
    for (index, room) in rooms.iter().enumerate() {
        let position = two.publish(room, "end").await;
        assert_eq!(at_one[index].stored().await, (position, "end".into()));
        assert_eq!(at_two[index].stored().await, (position, "end".into()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_and_members_that_were_not_replicated_are_reported_or_enter_again() {
    let cluster = Cluster::with_replicas(3);
    let (mut one, mut two) = (cluster.node().await, cluster.node().await);
    let (mut a, mut b) = (one.joined("a").await, two.joined("a").await);
    let kept = one.publish("a", "kept").await;
    assert_eq!((a.stored().await.1, b.stored().await.1), ("kept".into(), "kept".into()));
    let index = cluster.owner("a");
    let cluster = changed(cluster, move |cluster| {
        let (primary, replica) = (&cluster.primaries[index], &cluster.replicas[index]);
        cluster.wait_until_replicated(index);
        replica.signal("-STOP");
        primary.command::<()>(&["CLIENT", "KILL", "TYPE", "replica"]);
    })
    .await;
    // Acknowledged by the primary alone.
    let mut last = kept;
    for text in ["b", "c", "d"] {
        last = two.publish("a", text).await;
        assert_eq!((a.stored().await.1, b.stored().await.1), (text.into(), text.into()));
    }
    soon("entering", a.member.enter(&room("a"), "ann")).await.expect("entered");
    let _cluster = changed(cluster, move |cluster| {
        cluster.primaries[index].kill();
        cluster.replicas[index].signal("-CONT");
    })
    .await;
    one.available(true).await;
    two.available(true).await;
    one.lost("a").await;
    two.lost("a").await;
    let next = one.publish("a", "next").await;
    assert_ne!(next.epoch, kept.epoch);
    assert_eq!((a.stored().await, b.stored().await), ((next, "next".into()), (next, "next".into())));
    for position in [kept, last] {
        assert!(matches!(one.hub.read_after(&room("a"), position, 9).await, Err(BackplaneError::Lost)));
    }
    let page = two.hub.read_before(&room("a"), None, 9).await.expect("reachable");
    assert_eq!(page.messages.len(), 2);
    let is_present = async {
        while two.present("a").await != [a.id()] {
            sleep(Duration::from_millis(20)).await;
        }
    };
    soon("the member is present again", is_present).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_fail_at_once_while_a_shard_is_away_and_go_on_when_it_is_back() {
    let cluster = Cluster::start_with(3, &SOON);
    let mut node = cluster.node().await;
    let rooms = ["a", "b", "c"];
    let mut seats = joined(&node, &rooms).await;
    let index = cluster.owner("a");
    let cluster = changed(cluster, move |cluster| cluster.primaries[index].kill()).await;
    node.available(false).await;
    for _ in 0..1000 {
        assert!(matches!(node.hub.read_before(&room("a"), None, 9).await, Err(BackplaneError::Away)));
        assert!(matches!(node.hub.signal("x"), Err(BackplaneError::Away)));
    }
    let waiting = {
        let hub = node.hub.clone();
        tokio::spawn(async move { hub.publish(&room("a"), "waits").await })
    };
    // The cluster takes some time to notice.
    sleep(Duration::from_millis(2000)).await;
    assert!(!waiting.is_finished() && !node.hub.is_available());
    let _cluster = changed(cluster, move |cluster| cluster.primaries[index].run()).await;
    node.available(true).await;
    let published = soon("publishing", waiting).await.expect("no panic").expect("published");
    assert_eq!(seats[0].stored().await, (published.position, "waits".into()));
    for (seat, room) in seats.iter_mut().zip(rooms) {
        let position = node.publish(room, "end").await;
        assert_eq!(seat.stored().await, (position, "end".into()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_does_not_answer_is_away_after_the_timeout() {
    let cluster = Cluster::start(3);
    let redis = cluster.builder().timeout(Duration::from_millis(500)).build().expect("valid");
    let mut node = connected(&redis).await;
    let mut seat = node.joined("a").await;
    let primary = &cluster.primaries[cluster.owner("a")];
    primary.signal("-STOP");
    node.available(false).await;
    primary.signal("-CONT");
    node.available(true).await;
    let position = node.publish("a", "end").await;
    assert_eq!(seat.stored().await, (position, "end".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_a_server_closes_is_opened_again_and_nothing_is_missed() {
    let cluster = Cluster::start(3);
    let (mut one, two) = (cluster.node().await, cluster.node().await);
    let rooms = ["a", "b", "c"];
    let (mut at_one, mut at_two) = (joined(&one, &rooms).await, joined(&two, &rooms).await);
    let killing = changed(cluster, |cluster| {
        for _ in 0..10 {
            for primary in &cluster.primaries {
                primary.command::<usize>(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
    let (published, _cluster) = publish_during([&one, &two], &rooms, killing).await;
    assert_received(&one, &rooms, [&mut at_one, &mut at_two], &published).await;
    assert_eq!(one.arrived(|event| matches!(event, Event::Lost { .. })), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_known_server_suffices_and_others_may_be_unreachable() {
    let shared = Shared::start();
    let alive = shared.cluster().primaries[1].url();
    let dead = format!("redis://127.0.0.1:{}", free_port());
    let redis = shared.builder_of([dead, alive]).build().expect("valid");
    let node = connected(&redis).await;
    for room in ["a", "b", "c"] {
        let mut seat = node.joined(room).await;
        let position = node.publish(room, "a").await;
        assert_eq!(seat.stored().await, (position, "a".into()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_in_a_cluster_is_reported() {
    let server = Server::start();
    let redis: Redis<String> = Redis::cluster([server.url()]).build().expect("valid");
    let _node = Node::new(redis.clone());
    let error = soon("an attempt", redis.connected()).await.expect_err("it is no cluster");
    assert!(error.to_string().contains("cluster"), "{error}");
}

#[cfg(feature = "tls")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_used_with_all_servers_of_a_cluster() {
    let (tls, ports) = (support::Tls::new(&["127.0.0.1"]), [free_port(), free_port()]);
    let cluster = Cluster::of(ports.iter().map(|port| tls.start(*port, Cluster::server)).collect());
    let url = format!("rediss://127.0.0.1:{}", ports[0]);
    let redis = short(Redis::cluster([&*url])).root_certificates(&*tls.certificate).build().expect("valid");
    let node = connected(&redis).await;
    assert_ne!(cluster.owner("a"), cluster.owner("b"));
    for room in ["a", "b"] {
        let mut seat = node.joined(room).await;
        let position = node.publish(room, "a").await;
        assert_eq!(seat.stored().await, (position, "a".into()));
    }
    let distrusting: Redis<String> = short(Redis::cluster([url])).build().expect("valid");
    let _node = Node::new(distrusting.clone());
    assert!(soon("an attempt", distrusting.connected()).await.is_err(), "the certificate is self-signed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_hub_and_the_handles_closes_the_connections_to_a_cluster() {
    let cluster = Cluster::start(1);
    let primary = &cluster.primaries[0];
    let clients = || primary.command::<String>(&["CLIENT", "LIST"]).lines().count();
    let before = clients();
    let node = cluster.node().await;
    let seat = node.joined("a").await;
    assert_eq!(clients(), before + 3, "commands, subscriptions, and the channels of rooms");
    drop((node, seat));
    let closed = async {
        while clients() > before {
            sleep(Duration::from_millis(10)).await;
        }
    };
    soon("the connections are closed", closed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_in_the_readme_suffice_for_a_cluster() {
    let shared = Shared::start();
    let readme = include_str!("../README.md");
    let rights = readme.lines().find_map(|line| line.strip_prefix("`~fullduplex")).expect("a line of rights");
    let rights = format!("~fullduplex{}", rights.trim_end_matches(['`', '.']));
    let user = ["ACL", "SETUSER", "node", "on", ">secret"].into_iter().chain(rights.split(' '));
    let user: Vec<&str> = user.collect();
    let primaries = &shared.cluster().primaries;
    primaries.iter().for_each(|primary| primary.command(&user));
    let urls = primaries.iter().map(|primary| format!("redis://node:secret@127.0.0.1:{}", primary.port()));
    // The rights are for the default prefix, which no other test with these servers uses.
    let redis = short(Redis::cluster(urls)).build().expect("valid");
    let mut node = connected(&redis).await;
    let mut member = node.joined("r").await;
    let position = node.publish("r", "a").await;
    assert_eq!(member.stored().await, (position, "a".into()));
    soon("entering", member.member.enter(&room("r"), "ann")).await.expect("entered");
    node.entered(member.id()).await;
    assert_eq!(node.present("r").await, [member.id()]);
    node.hub.read_before(&room("r"), None, 9).await.expect("permitted");
    node.hub.to(&room("r")).send("b").await;
    node.hub.signal("x").expect("permitted");
    node.hub.delete_history(&room("r")).await.expect("permitted");
    member.member.leave(&room("r"));
    while !node.present("r").await.is_empty() {
        tokio::task::yield_now().await;
    }
    // The server counts what it has denied.
    let log: Vec<redis::Value> =
        primaries.iter().flat_map(|primary| primary.command::<Vec<_>>(&["ACL", "LOG"])).collect();
    assert_eq!((log, redis.last_error().map(|error| error.to_string())), (vec![], None));
}
