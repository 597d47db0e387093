//! Streams that are one of several streams, or that write as another one does.

/// Implements `AsyncRead` and `AsyncWrite` for a stream whose field `inner` is an enum of streams.
///
/// Takes the stream, the enum, and its variants, each with its attributes.
macro_rules! delegate_io {
    ($stream:ident, $inner:ident { $($(#[$attribute:meta])* $variant:ident),+ $(,)? }) => {
        impl ::tokio::io::AsyncRead for $stream {
            #[inline]
            fn poll_read(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
                buffer: &mut ::tokio::io::ReadBuf<'_>,
            ) -> ::std::task::Poll<::std::io::Result<()>> {
                match &mut self.get_mut().inner {
                    $($(#[$attribute])* $inner::$variant(io) => ::std::pin::Pin::new(io).poll_read(cx, buffer),)+
                }
            }
        }

        impl ::tokio::io::AsyncWrite for $stream {
            #[inline]
            fn poll_write(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
                bytes: &[u8],
            ) -> ::std::task::Poll<::std::io::Result<usize>> {
                match &mut self.get_mut().inner {
                    $($(#[$attribute])* $inner::$variant(io) => ::std::pin::Pin::new(io).poll_write(cx, bytes),)+
                }
            }

            fn poll_flush(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<::std::io::Result<()>> {
                match &mut self.get_mut().inner {
                    $($(#[$attribute])* $inner::$variant(io) => ::std::pin::Pin::new(io).poll_flush(cx),)+
                }
            }

            fn poll_shutdown(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<::std::io::Result<()>> {
                match &mut self.get_mut().inner {
                    $($(#[$attribute])* $inner::$variant(io) => ::std::pin::Pin::new(io).poll_shutdown(cx),)+
                }
            }

            #[inline]
            fn poll_write_vectored(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
                slices: &[::std::io::IoSlice<'_>],
            ) -> ::std::task::Poll<::std::io::Result<usize>> {
                match &mut self.get_mut().inner {
                    $($(#[$attribute])* $inner::$variant(io) => {
                        ::std::pin::Pin::new(io).poll_write_vectored(cx, slices)
                    })+
                }
            }

            fn is_write_vectored(&self) -> bool {
                match &self.inner {
                    $($(#[$attribute])* $inner::$variant(io) => io.is_write_vectored(),)+
                }
            }
        }
    };
}

pub(crate) use delegate_io;

/// Implements `AsyncWrite` for a stream `Stream<S>` whose field `io` is the transport `S`.
macro_rules! delegate_write {
    ($stream:ident) => {
        impl<S: ::tokio::io::AsyncWrite + Unpin> ::tokio::io::AsyncWrite for $stream<S> {
            fn poll_write(
                mut self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
                bytes: &[u8],
            ) -> ::std::task::Poll<::std::io::Result<usize>> {
                ::std::pin::Pin::new(&mut self.io).poll_write(cx, bytes)
            }

            fn poll_flush(
                mut self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<::std::io::Result<()>> {
                ::std::pin::Pin::new(&mut self.io).poll_flush(cx)
            }

            fn poll_shutdown(
                mut self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<::std::io::Result<()>> {
                ::std::pin::Pin::new(&mut self.io).poll_shutdown(cx)
            }

            fn poll_write_vectored(
                mut self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
                slices: &[::std::io::IoSlice<'_>],
            ) -> ::std::task::Poll<::std::io::Result<usize>> {
                ::std::pin::Pin::new(&mut self.io).poll_write_vectored(cx, slices)
            }

            fn is_write_vectored(&self) -> bool {
                self.io.is_write_vectored()
            }
        }
    };
}

pub(crate) use delegate_write;
