//! Members of a room.

use std::hint::black_box;

use bytes::Bytes;
use counts::{Replay, now};
use fullduplex::{
    Receiver, Role,
    hub::{Hub, Member},
};
use gungraun::prelude::*;

use crate::open;

const ROOM: &str = "room";

struct Room {
    hub: Hub,
    members: Vec<(Receiver<Replay>, Member<String>)>,
    message: Bytes,
}

impl Room {
    /// Sends the message to all members.
    fn send(&self) {
        let delivered = now(self.hub.to(&ROOM.to_owned()).send(self.message.clone()));
        assert_eq!(black_box(delivered).sent, self.members.len() as u64);
    }
}

fn room(members: usize, len: usize) -> Room {
    let hub = Hub::new();
    let join = |_| {
        let (receiver, sender) = open(Replay::new(Bytes::new()), Role::Server).split();
        let member = hub.add(sender);
        now(member.join(&ROOM.to_owned())).expect("nothing is away");
        (receiver, member)
    };
    let members = (0..members).map(join).collect();
    let room = Room { hub, members, message: Bytes::from(vec![0x55; len]) };
    room.send();
    room.send();
    room
}

// As many as one call sends to.
#[library_benchmark]
#[bench::to_5_of_128(room(5, 128))]
#[bench::to_128_of_128(room(128, 128))]
fn hub_send(room: Room) -> Room {
    room.send();
    room
}

library_benchmark_group!(name = hub_paths, benchmarks = [hub_send]);
