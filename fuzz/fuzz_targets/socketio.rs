//! Any text as the body of a POST to a server of Socket.IO: what is accepted is written as it was, and
//! packets have what their type demands.
//!
//! The sources of the example `socketio` are compiled into this target, because the package itself depends on
//! axum.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;

#[path = "socketio_engine.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the example")]
mod engine;
#[path = "socketio_socket.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the example")]
mod socket;

use engine::{
    Received, Text,
    packet::Packet,
    payload::{PayloadWriter, Piece, decode_payload},
};
use socket::{
    assembly::{Assembly, Whole},
    data::Arrived,
    event_name,
    limits::Limits,
    packet::{Kind, put_head},
};

const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

fuzz_target!(|payload: &[u8]| {
    let Ok(payload) = std::str::from_utf8(payload) else { return };
    let pieces: Result<Vec<Piece<'_>>, _> = decode_payload(payload).collect();
    if let Ok(pieces) = &pieces {
        is_written_as_it_was(payload, pieces);
    }
    let limits = Limits::new().max_event_size(10_000).max_namespace_len(20);
    let mut assembly = Assembly::new();
    // Up to the first fault.
    for piece in decode_payload(payload).map_while(Result::ok) {
        let received = match piece {
            Piece::Binary(data) => Received::Binary(data.into()),
            Piece::Text(packet @ Packet::Message(_)) => {
                Received::Text(Text::of_packet(packet.to_string().into()))
            }
            Piece::Text(_) => continue,
        };
        match assembly.receive(received, &limits) {
            Ok(Some(whole)) => check(&whole),
            Ok(None) => {}
            Err(_) => return,
        }
    }
});

/// A payload has one form.
fn is_written_as_it_was(payload: &str, pieces: &[Piece<'_>]) {
    let mut writer = PayloadWriter::new();
    for piece in pieces {
        match piece {
            Piece::Text(packet) => writer.text(&packet.to_string()),
            Piece::Binary(data) => writer.binary(data),
        }
    }
    assert_eq!(writer.into_string(), payload);
}

/// Checks a packet that was accepted, by what another reading of its data says.
fn check(whole: &Whole) {
    let packet = whole.packet();
    assert_eq!(whole.attachments().len(), packet.attachments());
    assert!(packet.attachments() <= 10);
    assert!(packet.namespace().starts_with('/') && packet.namespace().len() <= 20);
    let mut head = Vec::new();
    put_head(&mut head, packet.kind(), packet.attachments(), packet.namespace(), packet.id());
    assert!(!head.is_empty());
    let data = packet.data();
    match packet.kind() {
        Kind::Event | Kind::Ack => check_arguments(whole),
        Kind::Connect => {
            // Data that nests deeply is accepted, and this reading does not read it.
            let is_object = serde_json::from_str::<Value>(data).map(|data| data.is_object());
            assert!(data.is_empty() || is_object.unwrap_or(true), "{data}");
        }
        Kind::Disconnect => assert_eq!(data, ""),
        Kind::ConnectError => {}
    }
}

fn check_arguments(whole: &Whole) {
    let data = whole.packet().data();
    let has_name = whole.packet().kind() == Kind::Event;
    let arrived = Arrived { json: data, has_name, attachments: &whole.attachments };
    let all = arrived.all::<Vec<Value>>();
    let first = arrived.first::<Value>();
    let Ok(array) = serde_json::from_str::<Value>(data) else {
        return assert!(all.is_err(), "{data}");
    };
    let array = array.as_array().unwrap_or_else(|| panic!("no array: {data}"));
    let arguments = if has_name { &array[1..] } else { &array[..] };
    assert_eq!(all.ok().as_deref(), Some(arguments));
    assert_eq!(first.ok().as_ref(), Some(arguments.first().unwrap_or(&Value::Null)));
    if has_name {
        let name = match &array[0] {
            Value::String(name) => name.clone(),
            Value::Number(name) => name.to_string(),
            other => panic!("no name: {other}"),
        };
        assert!(!RESERVED.contains(&&*name));
        assert_eq!(event_name(data), name);
    }
    if !whole.attachments.is_empty() {
        arguments.iter().for_each(|value| check_placeholders(value, whole.attachments.len()));
    }
}

fn check_placeholders(value: &Value, attachments: usize) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| check_placeholders(value, attachments)),
        Value::Object(object) if object.get("_placeholder") == Some(&Value::Bool(true)) => {
            let num = object.get("num").and_then(Value::as_u64);
            assert!(num.is_some_and(|num| num < attachments as u64), "{value}");
        }
        Value::Object(object) => object.values().for_each(|value| check_placeholders(value, attachments)),
        _ => {}
    }
}
