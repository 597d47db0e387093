//! Redirects of the opening handshake.

use bytes::Bytes;
use http::{Response, StatusCode, header};

use crate::{
    Client, Error, Target,
    handshake::{RedirectFault, ResponseError},
};

/// Returns whether the response redirects to a target that a client may follow.
///
/// RFC 9110 section 15.4: the request is a GET, so the statuses do not differ.
pub(super) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Returns the target that a response redirects to. `client` then has only the credentials that may
/// be sent there.
pub(super) fn follow(
    client: &mut Client,
    from: &Target,
    response: Box<Response<Bytes>>,
) -> Result<Target, Error> {
    let to = match location(&response).and_then(|location| from.join(location).ok()) {
        None => return Err(not_followed(response, RedirectFault::Location)),
        // RFC 6455 section 10.6: confidentiality is not given up because of a response.
        Some(to) if from.is_secure() && !to.is_secure() => {
            return Err(not_followed(response, RedirectFault::Downgrade));
        }
        Some(to) => to,
    };
    // RFC 9110 section 15.4: credentials are meant for the origin that the program has named.
    if !to.has_same_origin(from) {
        client.remove_credentials();
    }
    Ok(to)
}

pub(super) fn not_followed(response: Box<Response<Bytes>>, fault: RedirectFault) -> Error {
    ResponseError::Redirect(response, fault).into()
}

/// Returns the value of `Location`, if there is one.
fn location(response: &Response<Bytes>) -> Option<&str> {
    let mut values = response.headers().get_all(header::LOCATION).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}
