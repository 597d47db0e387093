//! The handlers and middleware of a router, and how an event passes through them.

use std::{collections::HashMap, future::Future, ops::Range, pin::Pin, sync::Arc};

use super::{
    context::Context,
    encode,
    error::{CallError, InvalidData, Refusal, truncated},
    limits::Limits,
};
use crate::{Message, Utf8Bytes};

/// The longest part of the name of an event in a notice, in bytes.
const SHOWN_NAME: usize = 64;

pub(super) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
/// Receives the data as JSON, and returns the answer, if the event is acknowledged.
type Handler<S> =
    dyn Fn(Context<S>, Option<&str>) -> BoxFuture<Result<Option<Message>, CallError>> + Send + Sync;
type OnConnect<S> = dyn Fn(Context<S>) -> BoxFuture<Result<(), Refusal>> + Send + Sync;
type BeforeEach<S> = dyn Fn(Context<S>) -> BoxFuture<Result<(), CallError>> + Send + Sync;
type OnFailure<S> = dyn Fn(&Context<S>, &CallError) + Send + Sync;
type OnNotice<S> = dyn Fn(&Context<S>, &str) + Send + Sync;

/// The closures of a program.
pub(super) struct Routes<S> {
    pub(super) handlers: HashMap<Arc<str>, Arc<Handler<S>>>,
    pub(super) on_connect: Vec<Arc<OnConnect<S>>>,
    pub(super) before_each: Vec<Arc<BeforeEach<S>>>,
    pub(super) on_failure: Option<Arc<OnFailure<S>>>,
    pub(super) on_notice: Option<Arc<OnNotice<S>>>,
    pub(super) limits: Limits,
}

impl<S> Clone for Routes<S> {
    fn clone(&self) -> Self {
        Self {
            handlers: self.handlers.clone(),
            on_connect: self.on_connect.clone(),
            before_each: self.before_each.clone(),
            on_failure: self.on_failure.clone(),
            on_notice: self.on_notice.clone(),
            limits: self.limits,
        }
    }
}

/// A message of the peer that a handler or an error answers.
pub(super) struct Arrival<S> {
    pub(super) context: Context<S>,
    pub(super) content: Content<S>,
    /// The number of the connection that it has arrived over.
    pub(super) number: u64,
}

pub(super) enum Content<S> {
    Known(Arc<Handler<S>>, Data),
    Unknown,
    Malformed(InvalidData),
}

/// The data of an event, as a part of its message.
pub(super) struct Data {
    message: Utf8Bytes,
    range: Option<Range<usize>>,
}

impl Data {
    /// `data` is a part of `message`.
    pub(super) fn new(message: Utf8Bytes, data: Option<&str>) -> Self {
        let range = data.map(|data| {
            let start = data.as_ptr().addr() - message.as_ptr().addr();
            start..start + data.len()
        });
        Self { message, range }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        self.range.clone().map(|range| &self.message[range])
    }
}

impl<S: Send + Sync + 'static> Routes<S> {
    pub(super) fn new() -> Self {
        Self {
            handlers: HashMap::new(),
            on_connect: Vec::new(),
            before_each: Vec::new(),
            on_failure: None,
            on_notice: None,
            limits: Limits::new(),
        }
    }

    /// Runs the middleware of a new connection. Returns whether the connection is accepted; one that
    /// is not has been closed.
    pub(super) async fn connect(self: Arc<Self>, context: Context<S>) -> bool {
        for on_connect in &self.on_connect {
            if let Err(Refusal { text, frame }) = on_connect(context.clone()).await {
                // Both fail only if the connection has ended already.
                let _ = context.peer().send(encode::notice(&text)).await;
                let _ = context.peer().close(frame.code(), frame.reason());
                return false;
            }
        }
        true
    }

    /// Handles and answers a message.
    pub(super) async fn handle(self: Arc<Self>, arrival: Arrival<S>) {
        let Arrival { context, content, number } = arrival;
        let answer = match self.outcome(&context, content).await {
            Ok(answer) => answer,
            Err(error) => {
                if let Some(on_failure) = &self.on_failure {
                    on_failure(&context, &error);
                }
                Some(match context.id() {
                    Some(id) => encode::refusal(id, &error),
                    None => encode::notice(&notice(context.event(), &error)),
                })
            }
        };
        if let Some(answer) = answer {
            // It fails only if the connection has ended, and then that returns why, or if the program
            // lets a full queue drop messages.
            let _ = context.peer().answer(number, answer).await;
        }
    }

    async fn outcome(&self, context: &Context<S>, content: Content<S>) -> Result<Option<Message>, CallError> {
        for before_each in &self.before_each {
            before_each(context.clone()).await?;
        }
        match content {
            Content::Known(handler, data) => {
                let handling = handler(context.clone(), data.as_str());
                // Parsed already: the handler need not keep it.
                drop(data);
                handling.await
            }
            Content::Unknown => Err(CallError::UnknownEvent),
            Content::Malformed(why) => Err(why.into()),
        }
    }
}

/// Returns the text of an error that answers no call.
fn notice(event: &str, error: &CallError) -> String {
    let text = error.text();
    match event {
        "" => text.into_owned(),
        event => format!("{}: {text}", truncated(event, SHOWN_NAME)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_the_part_of_its_message() {
        let message = Utf8Bytes::from(r#"{"data":"ü"}"#);
        let part = Some(&message[8..12]);
        let data = Data::new(message.clone(), part);
        assert_eq!(data.as_str(), Some("\"ü\""));
        assert_eq!(Data::new(message, None).as_str(), None);
    }

    #[test]
    fn a_notice_contains_the_name_of_the_event() {
        assert_eq!(notice("", &CallError::UnknownEvent), "unknown event");
        assert_eq!(notice("a", &CallError::UnknownEvent), "a: unknown event");
        let long = notice(&"x".repeat(256), &CallError::Timeout);
        assert_eq!(long, format!("{}: no answer in time", "x".repeat(64)));
    }
}
