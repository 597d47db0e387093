//! Why a request has failed.

use std::{error::Error, io, sync::Arc};

use async_nats::{
    ConnectError, ConnectErrorKind,
    jetstream::{
        self,
        consumer::pull::{BatchError, BatchErrorKind},
        context::{
            CreateStreamError, CreateStreamErrorKind, GetStreamError, GetStreamErrorKind, PublishError,
            PublishErrorKind,
        },
        stream::{
            ConsumerError, ConsumerErrorKind, InfoError, LastRawMessageErrorKind, PurgeError, PurgeErrorKind,
            RawMessageError,
        },
    },
    rustls,
};
use fullduplex::hub::BackplaneError;

/// Why a request has failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The server, or JetStream, cannot be reached or does not answer.
    #[error("the server cannot be reached")]
    Away(#[source] Arc<dyn Error + Send + Sync>),
    /// TLS with the server has failed. Usually its certificate is not trusted, or is for another name.
    /// The node continues to try.
    #[error("TLS with the server has failed")]
    Tls(#[source] Arc<dyn Error + Send + Sync>),
    /// The server has answered with an error.
    #[error("the server has refused a request")]
    Refused(#[source] Arc<dyn Error + Send + Sync>),
}

impl Failure {
    pub(crate) fn away(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Away(source.into().into())
    }

    pub(crate) fn refused(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Refused(source.into().into())
    }

    /// The server did not answer in time.
    pub(crate) fn timed_out() -> Self {
        Self::away(io::Error::new(io::ErrorKind::TimedOut, "the server did not answer in time"))
    }

    pub(crate) fn is_away(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Tls(_))
    }
}

impl From<Failure> for BackplaneError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Away(_) | Failure::Tls(_) => Self::Away,
            Failure::Refused(source) => Self::Failed(source),
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        // The library calls it an error of input or output.
        let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        let is_rustls = cause.and_then(io::Error::get_ref).is_some_and(|cause| cause.is::<rustls::Error>());
        if is_rustls || error.kind() == ConnectErrorKind::Tls {
            return Self::Tls(Arc::new(error));
        }
        Self::away(error)
    }
}

/// Returns `true` for an error of JetStream that is not temporary.
fn is_refusal(error: &jetstream::Error) -> bool {
    error.code() != 503
}

/// Sorts the errors of requests: those of JetStream, and all others.
macro_rules! failures {
    ($($error:ident, $kind:ident;)*) => {
        $(
            impl From<$error> for Failure {
                fn from(error: $error) -> Self {
                    match error.kind() {
                        $kind::JetStream(cause) if is_refusal(&cause) => Self::refused(error),
                        _ => Self::away(error),
                    }
                }
            }
        )*
    };
}

failures! {
    ConsumerError, ConsumerErrorKind;
    CreateStreamError, CreateStreamErrorKind;
    GetStreamError, GetStreamErrorKind;
    PurgeError, PurgeErrorKind;
    RawMessageError, LastRawMessageErrorKind;
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        let cause = error.source().and_then(|source| source.downcast_ref::<jetstream::Error>());
        let is_refused = match error.kind() {
            PublishErrorKind::MaxPayloadExceeded | PublishErrorKind::WrongLastSequence => true,
            PublishErrorKind::Other => cause.is_some_and(is_refusal),
            // No stream answers while the server starts.
            _ => false,
        };
        if is_refused { Self::refused(error) } else { Self::away(error) }
    }
}

impl From<InfoError> for Failure {
    fn from(error: InfoError) -> Self {
        let cause = error.source().and_then(|source| source.downcast_ref::<jetstream::Error>());
        if cause.is_some_and(is_refusal) { Self::refused(error) } else { Self::away(error) }
    }
}

impl From<BatchError> for Failure {
    fn from(error: BatchError) -> Self {
        match error.kind() {
            BatchErrorKind::Subscribe | BatchErrorKind::Pull | BatchErrorKind::Flush => Self::away(error),
            _ => Self::refused(error),
        }
    }
}
