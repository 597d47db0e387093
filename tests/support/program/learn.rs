//! The required results of operations.

use bytes::Bytes;
use fullduplex::{Error, Event, proto::ProtocolError};

use super::{
    Program,
    action::Done,
    content,
    side::{Actor, Kept, Op, What},
};

impl Program {
    /// Records the result of an operation, and asserts that it is correct.
    pub(super) fn learn(&mut self, end: usize, op: Op, done: Done) {
        match (op.what, done) {
            (What::Message { id, sends }, Done::Ok) => {
                self.ledgers[end].queued(id, self.step);
                assert!(sends || !self.sides[end].is_at_end(), "message {id} was queued after the end");
                if sends {
                    self.learn_flushed(end, op);
                    self.ledgers[end].flushed_one(id);
                }
            }
            (What::Message { id, .. }, Done::Unused) => self.ledgers[end].never(id),
            (What::Message { id, .. }, Done::Failed(error)) => {
                self.ledgers[end].given_up(id, self.step);
                self.learn_error(end, &error);
            }
            (What::Sink { id, flushes }, Done::Ok) => self.learn_sunk(end, op, id, flushes),
            (What::Sink { id, .. }, Done::Failed(error)) => {
                self.keep(end, op.actor, id, false);
                self.resolve(end, op.actor, false);
                self.learn_error(end, &error);
            }
            (What::SinkClose, Done::Ok) => {
                self.resolve(end, op.actor, true);
                self.learn_flushed(end, op);
            }
            (What::Write { id }, Done::Ok) => self.learn_written(end, op, id),
            (What::Write { id }, Done::Failed(error)) => {
                self.learn_unfinished(end, id);
                self.learn_error(end, &error);
            }
            (What::Read, Done::Ok) => self.learn_read(end, None),
            (What::Read, Done::Failed(error)) => {
                self.learn_read(end, Some(&error));
                self.learn_error(end, &error);
            }
            (What::Flush, Done::Ok) => self.learn_flushed(end, op),
            (What::Close, Done::Ok) if op.actor == Actor::Whole => self.sides[end].over = true,
            (What::Close, Done::Ok) => self.learn_flushed(end, op),
            (What::Closed, Done::Ok) => assert!(self.may_be_closed(), "no side closed"),
            (What::Receive, Done::Got(Some(event))) => self.learn_event(end, &event),
            (What::Receive | What::Read, Done::Got(None)) => {
                assert!(self.may_be_closed(), "no side closed");
                self.learn_read(end, None);
                self.sides[end].over = true;
            }
            (_, Done::Failed(error)) => self.learn_error(end, &error),
            _ => {}
        }
    }

    /// Asserts that after a flush, everything that was queued before it has reached the other side;
    /// what follows may be held back.
    pub(super) fn learn_flushed(&mut self, end: usize, op: Op) {
        let held = self.pipe.holds_back(end);
        assert!(!held || op.actor != Actor::Whole, "the stream was not flushed");
        let due = self.ledgers[end].flushed(op.started);
        // A stream whose other end was dropped may accept data that is never shown.
        assert!(
            self.sides[1 - end].dropped || self.pipe.messages_shown(end) >= due,
            "a flush completed before its messages were written"
        );
    }

    /// Records what was read of a message. If that was not all of it, the reader was dropped or has
    /// failed.
    pub(super) fn learn_read(&mut self, end: usize, error: Option<&Error>) {
        let Some(reading) = self.sides[end].reading.take() else { return };
        let mut reading = reading.borrow_mut();
        if reading.limit < content::LARGEST as u64 && !reading.ended {
            // The skipped rest may still exceed the limit; then further input is discarded.
            self.sides[end].discards = true;
        }
        let ledger = &mut self.ledgers[1 - end];
        if let Some(message) = reading.whole() {
            ledger.receive(&message);
        } else if let Some(beginning) = reading.beginning() {
            if let Some(Error::Protocol(ProtocolError::MessageTooBig { limit })) = error {
                assert!(ledger.passes(&beginning, *limit), "the message is within the limit of {limit}");
            }
            if reading.failed {
                ledger.receive_cut_short(&beginning);
            } else {
                ledger.receive_beginning(beginning);
            }
        }
    }

    /// Records how far a message in parts is written.
    pub(super) fn look_at_writing(&mut self, end: usize, op: Op, id: usize) {
        let Some(writing) = self.sides[end].writing(id) else { return };
        let writing = writing.borrow();
        if writing.may_be_whole {
            self.ledgers[end].may_be_queued(id);
        }
        // If nothing was written, nothing can have been sent.
        let Some(flushed) = writing.flushed.filter(|flushed| *flushed > 0) else { return };
        drop(writing);
        assert!(!self.pipe.holds_back(end) || op.actor != Actor::Whole, "the stream was not flushed");
        if self.sides[1 - end].dropped {
            return;
        }
        let shown = self.pipe.last_begun(end).map_or(0, |begun| begun.len);
        assert!(shown == flushed, "a flush completed after {shown} of {flushed} bytes were written");
    }

    /// Records that a message was finished, or left unfinished.
    pub(super) fn learn_written(&mut self, end: usize, op: Op, id: usize) {
        let writing = self.sides[end].writing(id).expect("a message that is being written").borrow();
        let finished = writing.may_be_whole;
        drop(writing);
        if finished {
            self.sides[end].take_writing(id);
            self.ledgers[end].queued(id, self.step);
            self.learn_flushed(end, op);
            self.ledgers[end].flushed_one(id);
        } else {
            self.learn_unfinished(end, id);
        }
    }

    /// Records that a message was dropped before it was known to be finished. If it had begun, the
    /// connection closes.
    pub(super) fn learn_unfinished(&mut self, end: usize, id: usize) {
        let writing = self.sides[end].take_writing(id);
        let ledger = &mut self.ledgers[end];
        if writing.is_whole {
            ledger.queued(id, self.step);
            return ledger.flushed_one(id);
        }
        if writing.may_be_whole {
            ledger.may_be_queued(id);
        }
        ledger.given_up(id, self.step);
        self.closing |= writing.is_begun && !writing.may_be_whole;
        self.perhaps_closing |= writing.may_be_begun;
    }

    /// Records that a sink that was ready accepted a message: all messages before it are queued.
    pub(super) fn learn_sunk(&mut self, end: usize, op: Op, id: usize, flushes: bool) {
        self.resolve(end, op.actor, true);
        self.keep(end, op.actor, id, true);
        assert!(flushes || !self.sides[end].is_at_end(), "message {id} was queued after the end");
        if flushes {
            self.resolve(end, op.actor, true);
            self.learn_flushed(end, op);
            self.ledgers[end].flushed_one(id);
        }
    }

    pub(super) fn learn_event(&mut self, end: usize, event: &Event) {
        assert!(!self.sides[end].over, "an event was received after the end");
        let number = |payload: &Bytes| {
            let payload = std::str::from_utf8(payload).expect("a complete ping or pong");
            payload.parse::<usize>().expect("a complete ping or pong")
        };
        match event {
            Event::Message(message) => self.ledgers[1 - end].receive(message),
            Event::Ping(payload) => {
                let seen = &mut self.pings[1 - end][number(payload)].0;
                assert!(!std::mem::replace(seen, true), "a ping is duplicated");
            }
            Event::Pong(payload) => {
                let seen = &mut self.pings[end][number(payload)].1;
                assert!(!std::mem::replace(seen, true), "a pong is duplicated");
            }
            _ => assert!(self.may_be_closed(), "no side closed"),
        }
    }

    pub(super) fn learn_error(&mut self, end: usize, error: &Error) {
        match error {
            Error::Closed => assert!(self.may_be_closed(), "closed, though no side closed"),
            Error::Transport(_) | Error::Protocol(ProtocolError::EofWithoutClose) => {
                assert!(
                    self.sides[1 - end].dropped,
                    "{error}, though the other side did not drop its stream"
                );
                self.sides[end].record_error();
            }
            Error::Protocol(ProtocolError::MessageTooBig { .. }) => {
                assert!(self.sides[end].limited, "{error}, though no limit could be exceeded");
                self.sides[end].record_error();
            }
            other => panic!("{other:?}"),
        }
    }

    /// Records a message that was passed to a sender as a sink, certainly or not, and that the
    /// sender may keep.
    pub(super) fn keep(&mut self, end: usize, actor: Actor, id: usize, sure: bool) {
        let Actor::Sender(sender) = actor else { panic!("{actor:?} keeps nothing") };
        let gone = !self.sides[end].has_sender(sender);
        self.sides[end].kept.push(Kept { sender, id, sure });
        if gone {
            self.resolve(end, actor, false);
        }
    }

    /// Records that the message kept by a sender is queued, or may never be.
    pub(super) fn resolve(&mut self, end: usize, actor: Actor, queued: bool) {
        let is_its = |kept: &Kept| actor == Actor::Sender(kept.sender);
        let (now, rest): (Vec<_>, Vec<_>) = self.sides[end].kept.drain(..).partition(is_its);
        self.sides[end].kept = rest;
        for Kept { id, sure, .. } in now {
            if queued && sure {
                self.ledgers[end].queued(id, self.step);
            } else {
                self.ledgers[end].given_up(id, self.step);
            }
        }
    }

    /// Returns whether the connection may have been closed.
    pub(super) fn may_be_closed(&self) -> bool {
        self.closing || self.perhaps_closing || self.sides.iter().any(|side| side.dropped)
    }
}
