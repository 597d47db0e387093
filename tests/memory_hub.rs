//! The memory that a member of a hub takes beyond its connection, counted by the allocator.
#![cfg(feature = "hub")]

mod support;

use allocation_counter::measure;
use fullduplex::hub::{Hub, Member};
use support::{finished, hub::quiet, script::split_server};

const MEMBERS: usize = 5000;

/// Returns the bytes that each member takes, if members are spread over this many rooms.
fn bytes_per_member(rooms: usize) -> usize {
    let hub = Hub::<u32>::new();
    let ends: Vec<_> = (0..MEMBERS).map(|_| split_server(quiet())).collect();
    let mut members = Vec::with_capacity(MEMBERS);
    let allocated = measure(|| {
        for (nth, (_, sender, _)) in ends.iter().enumerate() {
            let member = hub.add(sender.clone());
            finished(member.join(&((nth % rooms) as u32))).expect("in memory");
            members.push(member);
        }
    });
    assert_eq!(hub.len(), MEMBERS);
    allocated.bytes_current as usize / MEMBERS + size_of::<Member<u32>>()
}

#[test]
fn a_member_takes_at_most_200_bytes() {
    let in_one_room = bytes_per_member(1);
    assert!((100..=200).contains(&in_one_room), "{in_one_room}");
}

#[test]
fn a_room_takes_little_more() {
    let in_many_rooms = bytes_per_member(MEMBERS / 10);
    assert!((100..=300).contains(&in_many_rooms), "{in_many_rooms}");
}
