//! Several messages as one unit, with no other message between them.

mod support;

use std::pin::pin;

use bytes::Buf;
use fullduplex::{
    Config, Error, Message, MessageKind, Outgoing, PreparedMessage, Role, SendError, Sequence, TrySendError,
    proto::{Batch, Buffers, MaskKey, SendPath},
    testing,
};
use support::{
    finished,
    frames::{self, binary, text, wire},
    pending,
    script::{open, split_server},
    without_deadlines,
};

/// A text and two binary messages behind it.
fn sequence() -> Sequence {
    Sequence::new("two follow", [Message::binary("first"), Message::binary("")])
}

/// Returns the frames that a server sends for it.
fn frames_of_sequence() -> Vec<u8> {
    wire(&[text("two follow"), binary("first"), binary("")])
}

#[test]
fn the_frames_of_a_sequence_follow_each_other() {
    for lens in [[0, 1, 2], [100, 200, 300], [300, 4096, 4097], [70_000, 3, 126]] {
        let messages = lens.map(|len| Message::binary(vec![7; len]));
        let sequence = Sequence::new(messages[0].clone(), messages[1..].to_vec());
        let expected = wire(&messages.each_ref().map(|message| binary(message.as_bytes())));
        let prepared = PreparedMessage::new(sequence.clone());
        let first_header = binary(messages[0].as_bytes()).build().len() - messages[0].len();
        for outgoing in [Outgoing::from(&prepared), sequence.into()] {
            assert_eq!(outgoing.len(), expected.len() - first_header);
            // Alone, and behind another message.
            for precedes in [false, true] {
                let (mut path, mut batch, mut buffers) =
                    (SendPath::new(Role::Server, &Config::new()), Batch::new(), Buffers::new());
                let mut expected = expected.clone();
                if precedes {
                    path.send("before".into(), MaskKey::default(), &mut buffers).expect("open");
                    expected.splice(..0, text("before").build());
                }
                path.send(outgoing.clone(), MaskKey::default(), &mut buffers).expect("open");
                assert_eq!(path.queued_bytes(), expected.len());
                let mut sent = Vec::new();
                while path.queued_bytes() > 0 {
                    path.stage(&mut batch, &mut buffers);
                    sent.extend_from_slice(&batch.copy_to_bytes(batch.remaining()));
                }
                assert!(sent == expected, "{lens:?} {precedes}");
            }
        }
    }
}

#[test]
fn a_sequence_of_one_message_is_that_message() {
    let one = PreparedMessage::from(Sequence::from("one"));
    assert_eq!(one, PreparedMessage::new("one"));
    assert_eq!(Outgoing::from(Sequence::new("one", [])), Outgoing::from("one"));
    assert_ne!(PreparedMessage::new(sequence()), PreparedMessage::new("two follow"));
    assert_eq!(format!("{:?}", sequence()), "[Text(10 bytes), Binary(5 bytes), Binary(0 bytes)]");
}

/// RFC 6455 section 5.3: each frame has a key of its own.
#[test]
fn a_client_masks_each_message_of_a_sequence_with_another_key() {
    let mut path = SendPath::new(Role::Client, &Config::new());
    let refused = path.send(sequence().into(), MaskKey::default(), &mut Buffers::new());
    assert_eq!((refused, path.queued_bytes()), (Err(SendError::SequenceToMask), 0));

    let zeros = Sequence::new(vec![0; 8], [Message::binary(vec![0; 8]), Message::binary(vec![0; 8])]);
    for is_split in [false, true] {
        for queues_before in [false, true] {
            let (mut ws, script) = open(Role::Client, &without_deadlines());
            if queues_before {
                finished(ws.feed("before")).expect("open");
            }
            if is_split {
                let (_receiver, sender) = ws.split();
                finished(sender.send(zeros.clone())).expect("open");
            } else {
                finished(ws.send(zeros.clone())).expect("open");
            }
            let written = script.take_written();
            let frames = frames::parse(&written);
            let from = usize::from(queues_before);
            assert_eq!(frames[from..], vec![(0x82, vec![0; 8]); 3]);
            // Of zeros, the masked data is the key twice.
            let keys: Vec<_> =
                written[written.len() - 3 * 14..].chunks(14).map(|frame| &frame[2..6]).collect();
            assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2], "{keys:?}");
        }
    }
}

#[test]
fn whole_and_split_connections_send_sequences_which_count_as_one_message() {
    let config = without_deadlines().stats(true);
    for queues_before in [false, true] {
        let before = if queues_before { text("before").build() } else { Vec::new() };
        let expected = [before, frames_of_sequence()].concat();
        let (mut ws, script) = open(Role::Server, &config);
        if queues_before {
            finished(ws.feed("before")).expect("open");
        }
        finished(ws.send(sequence())).expect("open");
        assert_eq!(script.take_written(), expected);
        let count = 1 + u64::from(queues_before);
        assert_eq!(ws.stats().expect("enabled").messages_sent, count);

        let (receiver, sender) = ws.split();
        if queues_before {
            finished(sender.feed("before")).expect("open");
        }
        sender.try_send(sequence()).expect("room");
        finished(sender.flush()).expect("open");
        assert_eq!(script.take_written(), expected);
        assert_eq!(receiver.stats().expect("enabled").messages_sent, 2 * count);
    }
}

#[test]
fn a_sequence_is_whole_wherever_the_stream_stops_accepting() {
    let expected = frames_of_sequence();
    for accepted in 0..expected.len() {
        let (_receiver, sender, script) = split_server(without_deadlines());
        script.allow_writes(accepted);
        let mut sending = pin!(sender.send(sequence()));
        pending(sending.as_mut(), "the stream accepts no more");
        script.allow_writes(None);
        finished(sending).expect("open");
        assert_eq!(script.take_written(), expected, "{accepted}");
    }
}

#[test]
fn a_sequence_has_room_as_a_whole_or_not_at_all() {
    let len = frames_of_sequence().len();
    for (beyond, has_room) in [(0, true), (1, false)] {
        let (_receiver, sender, script) = split_server(without_deadlines().max_write_buffer_size(len + 10));
        script.allow_writes(0);
        sender.try_send(vec![0; 8 + beyond]).expect("the first one has room");
        let queued = sender.queued_bytes();
        let sent = sender.try_send(sequence());
        if has_room {
            sent.expect("just enough room");
        } else {
            let Err(TrySendError::Full(back)) = sent else { panic!("{sent:?}") };
            assert_eq!(back, sequence().into());
            assert_eq!(sender.queued_bytes(), queued, "no part of it is queued");
        }
        script.allow_writes(None);
        finished(sender.flush()).expect("open");
        let expected =
            [binary(vec![0; 8 + beyond]).build(), if has_room { frames_of_sequence() } else { vec![] }];
        assert_eq!(script.take_written(), expected.concat());
    }
}

#[test]
fn a_sequence_larger_than_the_buffer_takes_all_of_it() {
    let (_receiver, sender, script) = split_server(without_deadlines().max_write_buffer_size(10));
    finished(sender.send(sequence())).expect("open");
    sender.try_send(sequence()).expect("nothing is queued");
    assert_eq!(script.take_written(), frames_of_sequence().repeat(2));
}

#[test]
fn a_sequence_that_waits_and_is_dropped_leaves_nothing_behind() {
    let (_receiver, sender, script) = split_server(without_deadlines().max_write_buffer_size(30));
    script.allow_writes(0);
    sender.try_send(vec![0; 20]).expect("the first one has room");
    {
        let mut feeding = pin!(sender.feed(sequence()));
        pending(feeding.as_mut(), "there is no room");
    }
    let mut behind = pin!(sender.feed("behind"));
    finished(behind.as_mut()).expect("the dropped one keeps no room");
    script.allow_writes(None);
    finished(sender.flush()).expect("open");
    assert_eq!(script.take_written(), wire(&[binary(vec![0; 20]), text("behind")]));
}

/// RFC 6455 section 5.4: fragments of two messages are not interleaved.
#[test]
fn a_sequence_waits_for_a_message_in_fragments() {
    let (_receiver, sender, script) = split_server(without_deadlines());
    let mut writer = finished(sender.writer(MessageKind::Text)).expect("open");
    finished(writer.feed_part("part ")).expect("open");
    assert!(matches!(sender.try_send(sequence()), Err(TrySendError::Full(_))));
    {
        let mut sending = pin!(sender.send(sequence()));
        pending(sending.as_mut(), "the writer has all room");
        finished(writer.finish()).expect("open");
        finished(sending).expect("open");
    }
    let written = frames::parse(&script.take_written());
    assert_eq!(written[written.len() - 3..], frames::parse(&frames_of_sequence()));
    assert!(matches!(written[written.len() - 4], (0x80, _)), "the end of the message in fragments");
}

#[test]
fn a_closed_connection_returns_the_sequence() {
    let (_receiver, sender, _script) = split_server(without_deadlines());
    sender.start_close(None).expect("open");
    let Err(TrySendError::Closed(back)) = sender.try_send(sequence()) else { panic!("it is closing") };
    assert_eq!(back, sequence().into());
    assert!(matches!(finished(sender.send(sequence())), Err(Error::Closed)));
}

/// Many tasks send at once, and no message comes between those of a sequence.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_comes_between_the_messages_of_a_sequence() {
    const EACH: usize = 200;
    // A small buffer, so that senders wait, and a small pipe, so that frames are written in parts.
    let config = without_deadlines().max_write_buffer_size(500);
    for [client_sends, prepared] in [[false, false], [false, true], [true, false], [true, true]] {
        let (client, server) = testing::pair_with_capacity(&config, 100);
        let (from, mut to) = if client_sends { (client, server) } else { (server, client) };
        let (mut receiver, sender) = from.split();
        let receiving = tokio::spawn(async move { while let Ok(Some(_)) = receiver.recv().await {} });
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..4_u8 {
            let sender = sender.clone();
            tasks.spawn(async move {
                for number in 0..EACH {
                    let sequence =
                        Sequence::new(format!("{task}"), [Message::from([task]), vec![task; 50].into()]);
                    if prepared {
                        sender.send(PreparedMessage::new(sequence)).await.expect("open");
                    } else if number % 2 == 0 {
                        sender.feed(sequence).await.expect("open");
                    } else {
                        while sender.try_send(sequence.clone()).is_err() {
                            tokio::task::yield_now().await;
                        }
                    }
                    sender.send("between").await.expect("open");
                }
            });
        }
        for _ in 0..2 * 4 * EACH {
            let first = to.recv().await.expect("open").expect("open");
            if first.as_text() == Some("between") {
                continue;
            }
            let task: u8 = first.as_text().expect("text").parse().expect("a number");
            for expected in [vec![task], vec![task; 50]] {
                assert_eq!(to.recv().await.expect("open").expect("open"), Message::binary(expected));
            }
        }
        tasks.join_all().await;
        receiving.abort();
    }
}

#[cfg(feature = "deflate")]
mod compressed {
    use fullduplex::Role::{Client, Server};

    use super::{
        support::deflate::{self, Unzip, quiet, sent, takeovers},
        *,
    };

    fn data(len: usize) -> Vec<u8> {
        deflate::json(len).into_bytes()
    }

    /// Each message is compressed as it would be alone: those below the threshold are not, and the
    /// window of the receiver remains that of the sender.
    #[test]
    fn each_message_of_a_sequence_is_compressed_on_its_own() {
        let messages = [data(3000), vec![b'x'; 5], data(300), data(100_000)];
        let sequence = Sequence::new(
            Message::binary(messages[0].clone()),
            messages[1..].iter().cloned().map(Message::binary),
        );
        let prepared = PreparedMessage::new(sequence.clone());
        for settings in takeovers() {
            for role in [Server, Client] {
                let takeover = !settings.get_server_no_context_takeover();
                let (mut ws, script) =
                    deflate::open(role, &quiet().write_timeout(None), settings.threshold(64));
                let mut unzip = Unzip::new(takeover);
                for outgoing in [Outgoing::from(&prepared), sequence.clone().into(), (&prepared).into()] {
                    finished(ws.send(data(500))).expect("open");
                    finished(ws.send(outgoing)).expect("open");
                    let sent = sent(&script.take_written(), &mut unzip);
                    let expected =
                        [(true, data(500)), (true, messages[0].clone()), (false, messages[1].clone())];
                    assert!(sent[..3] == expected, "{role:?} {takeover}");
                    assert!(sent[3..] == [(true, messages[2].clone()), (true, messages[3].clone())]);
                }
                finished(ws.send(Outgoing::from(&prepared).compress(false))).expect("open");
                let sent = sent(&script.take_written(), &mut unzip);
                assert!(
                    sent.iter()
                        .map(|(compressed, data)| (!compressed, data))
                        .eq(messages.iter().map(|data| (true, data)))
                );
            }
        }
    }

    #[test]
    fn a_sequence_that_is_compressed_later_is_not_divided_by_others() {
        for settings in takeovers() {
            let (ws, script) =
                deflate::open(Server, &quiet().write_timeout(None).close_timeout(None), settings);
            let mut unzip = Unzip::new(!settings.get_server_no_context_takeover());
            let (_receiver, sender) = ws.split();
            script.allow_writes(0);
            let messages = [data(70_000), data(90_000)];
            let sequence =
                Sequence::new(Message::binary(messages[0].clone()), [Message::binary(messages[1].clone())]);
            sender.try_send(data(100)).expect("room");
            sender.try_send(sequence).expect("room");
            sender.try_send(Outgoing::from("plain").compress(false)).expect("room");
            script.allow_writes(None);
            finished(sender.flush()).expect("open");
            let sent: Vec<_> =
                sent(&script.take_written(), &mut unzip).into_iter().map(|(_, data)| data).collect();
            assert!(sent == [data(100), messages[0].clone(), messages[1].clone(), b"plain".to_vec()]);
        }
    }
}
