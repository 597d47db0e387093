//! Who may enter: tickets in links, and the tokens that a page gets for them.
//!
//! A ticket is in the fragment of a link, and valid for 12 hours. The page exchanges it for a token,
//! which opens connections for 15 minutes, and for a ticket of its own, with which it gets the next
//! token for the same person. Both are JSON Web Tokens (RFC 7519) with HS256; the claim `aud` keeps
//! one from being used as the other.

use std::{fmt, str::FromStr, time::Duration};

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode, errors::ErrorKind,
    get_current_timestamp,
};
use serde::{Deserialize, Serialize};

use crate::values::{Name, ParticipantId, RoomName};

/// How long a link is valid.
pub const TICKET_LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// How long a token opens connections.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// The shortest secret: that of the hash function, which RFC 7518 section 3.2 requires.
pub const MIN_SECRET: usize = 32;

/// The longest ticket or token that is looked at, in bytes.
pub const MAX_LEN: usize = 4096;

const TICKET: &str = "classroom:ticket";
const TOKEN: &str = "classroom:token";

/// The secret that signs tickets and tokens.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Creates a random secret.
    pub fn random() -> Self {
        Self(Box::new(rand::random::<[u8; MIN_SECRET]>()))
    }

    /// Takes the bytes of a secret.
    ///
    /// # Errors
    /// Fails if there are fewer than [`MIN_SECRET`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ShortSecret> {
        if bytes.len() < MIN_SECRET { Err(ShortSecret) } else { Ok(Self(bytes.into())) }
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Redacted.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

impl FromStr for Secret {
    type Err = ShortSecret;

    fn from_str(text: &str) -> Result<Self, ShortSecret> {
        Self::from_bytes(text.as_bytes())
    }
}

/// The error of a secret that is too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret is shorter than {MIN_SECRET} bytes")]
pub struct ShortSecret;

/// What a person may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Removes and mutes students, and closes the room.
    Teacher,
    /// Talks.
    Student,
    /// Watches the server, and is in no room.
    Admin,
}

impl Role {
    /// Returns the name of the role in claims and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Teacher => "teacher",
            Self::Student => "student",
            Self::Admin => "admin",
        }
    }
}

/// A role, and the room in which it is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// A teacher of this room.
    Teacher(RoomName),
    /// A student in this room.
    Student(RoomName),
    /// An administrator of the server.
    Admin,
}

impl Scope {
    /// Returns the role.
    pub fn role(&self) -> Role {
        match self {
            Self::Teacher(_) => Role::Teacher,
            Self::Student(_) => Role::Student,
            Self::Admin => Role::Admin,
        }
    }

    /// Returns the room; `None` for an administrator.
    pub fn room(&self) -> Option<&RoomName> {
        match self {
            Self::Teacher(room) | Self::Student(room) => Some(room),
            Self::Admin => None,
        }
    }
}

/// A person, as a token describes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The id of the person, which stays the same for all tokens of one page.
    pub id: ParticipantId,
    /// The name that others see.
    pub name: Name,
    /// What the person may do, and where.
    pub scope: Scope,
}

/// What a ticket is exchanged for.
#[derive(Debug)]
pub struct Exchanged {
    /// The person.
    pub identity: Identity,
    /// The token, which opens connections.
    pub token: String,
    /// A ticket for the same person, which expires with the one that was exchanged.
    pub ticket: String,
}

/// Why a ticket or a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// It was valid once.
    #[error("it has expired")]
    Expired,
    /// It is malformed, forged, signed with another algorithm, or for something else.
    #[error("it is not valid")]
    NotValid,
    /// The ticket names no person, and the request did not either.
    #[error("a name is needed")]
    NoName,
    /// Signing failed.
    #[error("it could not be signed")]
    Signing,
}

/// Signs and checks tickets and tokens.
pub struct Auth {
    signing: EncodingKey,
    checking: DecodingKey,
    ticket: Validation,
    token: Validation,
}

impl Auth {
    /// Creates it with a secret.
    pub fn new(secret: &Secret) -> Self {
        Self {
            signing: EncodingKey::from_secret(secret.as_bytes()),
            checking: DecodingKey::from_secret(secret.as_bytes()),
            ticket: validation(TICKET),
            token: validation(TOKEN),
        }
    }

    /// Creates a ticket for a link, with which any number of persons can enter.
    ///
    /// # Errors
    /// Fails if signing fails.
    pub fn ticket(&self, scope: &Scope) -> Result<String, AuthError> {
        self.sign(TICKET, &Claims::new(scope, None, None, after(TICKET_LIFETIME)))
    }

    /// Exchanges a ticket for a token.
    ///
    /// A ticket for one person keeps its name and its id. Another one needs a name, and creates an
    /// id; an administrator needs no name.
    ///
    /// # Errors
    /// Fails if the ticket is not valid, and if a name is needed.
    pub fn exchange(&self, ticket: &str, name: Option<Name>) -> Result<Exchanged, AuthError> {
        let claims = self.check(ticket, &self.ticket)?;
        let expires = claims.exp;
        let scope = claims.scope().ok_or(AuthError::NotValid)?;
        let name = match (claims.name, &scope) {
            (Some(name), _) => name,
            (None, Scope::Admin) => "admin".parse().map_err(|_| AuthError::NoName)?,
            (None, _) => name.ok_or(AuthError::NoName)?,
        };
        let identity = Identity { id: claims.sub.unwrap_or_else(ParticipantId::random), name, scope };
        let ticket = self.sign(TICKET, &Claims::of(&identity, expires))?;
        let token = self.sign(TOKEN, &Claims::of(&identity, after(TOKEN_LIFETIME).min(expires)))?;
        Ok(Exchanged { identity, token, ticket })
    }

    /// Returns the person whom a token describes.
    ///
    /// # Errors
    /// Fails if the token is not valid.
    pub fn verify(&self, token: &str) -> Result<Identity, AuthError> {
        let claims = self.check(token, &self.token)?;
        let scope = claims.scope();
        match (claims.sub, claims.name, scope) {
            (Some(id), Some(name), Some(scope)) => Ok(Identity { id, name, scope }),
            _ => Err(AuthError::NotValid),
        }
    }

    fn check(&self, text: &str, validation: &Validation) -> Result<Claims, AuthError> {
        if text.len() > MAX_LEN {
            return Err(AuthError::NotValid);
        }
        match decode::<Claims>(text, &self.checking, validation) {
            Ok(decoded) => Ok(decoded.claims),
            Err(error) if matches!(error.kind(), ErrorKind::ExpiredSignature) => Err(AuthError::Expired),
            Err(_) => Err(AuthError::NotValid),
        }
    }

    fn sign(&self, audience: &'static str, claims: &Claims) -> Result<String, AuthError> {
        let signed = Signed { aud: audience, iat: get_current_timestamp(), claims };
        encode(&Header::new(Algorithm::HS256), &signed, &self.signing).map_err(|error| {
            tracing::error!(%error, "signing failed");
            AuthError::Signing
        })
    }
}

/// Redacted.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}

/// The claims, as they are in the token.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    role: Role,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    room: Option<RoomName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub: Option<ParticipantId>,
    exp: u64,
}

#[derive(Serialize)]
struct Signed<'a> {
    aud: &'static str,
    iat: u64,
    #[serde(flatten)]
    claims: &'a Claims,
}

impl Claims {
    fn new(scope: &Scope, name: Option<Name>, sub: Option<ParticipantId>, exp: u64) -> Self {
        Self { role: scope.role(), room: scope.room().cloned(), name, sub, exp }
    }

    fn of(identity: &Identity, exp: u64) -> Self {
        Self::new(&identity.scope, Some(identity.name.clone()), Some(identity.id.clone()), exp)
    }

    /// Returns the scope, unless a room is missing, or named although there is none.
    fn scope(&self) -> Option<Scope> {
        match (self.role, self.room.clone()) {
            (Role::Teacher, Some(room)) => Some(Scope::Teacher(room)),
            (Role::Student, Some(room)) => Some(Scope::Student(room)),
            (Role::Admin, None) => Some(Scope::Admin),
            _ => None,
        }
    }
}

/// Returns what is checked: the algorithm, which the token must not choose, its purpose and its time.
fn validation(audience: &str) -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "aud"]);
    validation.leeway = 0;
    validation.validate_nbf = true;
    validation
}

fn after(lifetime: Duration) -> u64 {
    get_current_timestamp().saturating_add(lifetime.as_secs())
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
    use serde_json::json;

    use super::*;

    fn auth() -> Auth {
        Auth::new(&Secret::from_bytes(&[7; 32]).expect("long enough"))
    }

    fn student() -> Scope {
        Scope::Student("maths".parse().expect("valid"))
    }

    fn name(name: &str) -> Option<Name> {
        Some(name.parse().expect("valid"))
    }

    /// Signs any claims with any algorithm and key.
    fn forged(algorithm: Algorithm, key: &[u8], claims: &serde_json::Value) -> String {
        encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(key)).expect("signed")
    }

    fn claims() -> serde_json::Value {
        json!({"aud": TOKEN, "role": "student", "room": "maths", "name": "Ann", "sub": "1", "exp": after(TOKEN_LIFETIME)})
    }

    #[test]
    fn a_ticket_is_exchanged_for_a_token_of_its_role_and_room() {
        let auth = auth();
        for scope in [student(), Scope::Teacher("maths".parse().expect("valid"))] {
            let ticket = auth.ticket(&scope).expect("signed");
            let exchanged = auth.exchange(&ticket, name("Ann")).expect("valid");
            let identity = auth.verify(&exchanged.token).expect("valid");
            assert_eq!(identity, exchanged.identity);
            assert_eq!((identity.name.as_str(), identity.scope), ("Ann", scope));
        }
        let ticket = auth.ticket(&Scope::Admin).expect("signed");
        let admin = auth.exchange(&ticket, None).expect("needs no name").identity;
        assert_eq!((admin.scope.role(), admin.scope.room()), (Role::Admin, None));
    }

    #[test]
    fn the_ticket_of_a_person_keeps_the_id_and_the_name() {
        let auth = auth();
        let link = auth.ticket(&student()).expect("signed");
        assert_eq!(auth.exchange(&link, None).expect_err("no name"), AuthError::NoName);
        let first = auth.exchange(&link, name("Ann")).expect("valid");
        let again = auth.exchange(&first.ticket, name("Teacher")).expect("valid");
        assert_eq!(again.identity, first.identity);
        let other = auth.exchange(&link, name("Ann")).expect("valid");
        assert_ne!(other.identity.id, first.identity.id);
    }

    #[test]
    fn a_token_and_the_next_ticket_expire_with_the_ticket() {
        let auth = auth();
        let expires = get_current_timestamp() + 60;
        let ticket = auth.sign(TICKET, &Claims::new(&student(), None, None, expires)).expect("signed");
        let exchanged = auth.exchange(&ticket, name("Ann")).expect("valid");
        let token = auth.check(&exchanged.token, &auth.token).expect("valid");
        let next = auth.check(&exchanged.ticket, &auth.ticket).expect("valid");
        assert_eq!((token.exp, next.exp), (expires, expires));
    }

    #[test]
    fn what_has_expired_is_refused() {
        let auth = auth();
        let past = get_current_timestamp() - 1;
        let ticket = auth.sign(TICKET, &Claims::new(&student(), None, None, past)).expect("signed");
        assert_eq!(auth.exchange(&ticket, name("Ann")).expect_err("refused"), AuthError::Expired);
        let mut claims = claims();
        claims["exp"] = json!(past);
        assert_eq!(auth.verify(&forged(Algorithm::HS256, &[7; 32], &claims)), Err(AuthError::Expired));
    }

    #[test]
    fn a_ticket_opens_no_connection_and_a_token_is_no_ticket() {
        let auth = auth();
        let ticket = auth.ticket(&student()).expect("signed");
        let exchanged = auth.exchange(&ticket, name("Ann")).expect("valid");
        assert_eq!(auth.verify(&exchanged.ticket), Err(AuthError::NotValid));
        assert_eq!(auth.exchange(&exchanged.token, None).expect_err("refused"), AuthError::NotValid);
    }

    #[test]
    fn other_keys_and_algorithms_are_refused() {
        let auth = auth();
        assert!(auth.verify(&forged(Algorithm::HS256, &[7; 32], &claims())).is_ok());
        for (algorithm, key) in
            [(Algorithm::HS256, [8; 32]), (Algorithm::HS384, [7; 32]), (Algorithm::HS512, [7; 32])]
        {
            assert_eq!(auth.verify(&forged(algorithm, &key, &claims())), Err(AuthError::NotValid));
        }
    }

    #[test]
    fn a_token_without_a_signature_is_refused() {
        let body = BASE64.encode(claims().to_string());
        for header in [json!({"alg": "none"}), json!({"alg": "None", "typ": "JWT"}), json!({"typ": "JWT"})] {
            let head = BASE64.encode(header.to_string());
            for token in [format!("{head}.{body}."), format!("{head}.{body}"), format!("{head}.{body}.AAAA")]
            {
                assert_eq!(auth().verify(&token), Err(AuthError::NotValid), "{header}");
            }
        }
    }

    #[test]
    fn a_changed_token_is_refused() {
        let token = forged(Algorithm::HS256, &[7; 32], &claims());
        let (head, rest) = token.split_once('.').expect("three parts");
        let (_, signature) = rest.split_once('.').expect("three parts");
        let mut claims = claims();
        claims["role"] = json!("teacher");
        let body = BASE64.encode(claims.to_string());
        assert_eq!(auth().verify(&format!("{head}.{body}.{signature}")), Err(AuthError::NotValid));
    }

    /// Nothing but the whole signature is compared: by AWS-LC, in constant time.
    #[test]
    fn row_54_a_signature_with_any_wrong_bit_is_refused() {
        let token = forged(Algorithm::HS256, &[7; 32], &claims());
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let signature = BASE64.decode(signature).expect("Base64");
        for bit in 0..8 * signature.len() {
            let mut wrong = signature.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let token = format!("{signed}.{}", BASE64.encode(wrong));
            assert_eq!(auth().verify(&token), Err(AuthError::NotValid), "bit {bit}");
        }
        assert!(auth().verify(&token).is_ok());
    }

    #[test]
    fn claims_that_contradict_each_other_are_refused() {
        for (claim, value) in [
            ("room", json!(null)),
            ("room", json!("")),
            ("name", json!(null)),
            ("name", json!("a\u{202e}")),
            ("sub", json!(null)),
            ("sub", json!("a b")),
            ("role", json!("admin")),
            ("role", json!("head")),
            ("aud", json!(null)),
            ("aud", json!("another")),
            ("exp", json!(null)),
            ("nbf", json!(after(TOKEN_LIFETIME))),
        ] {
            let mut claims = claims();
            claims[claim] = value.clone();
            let token = forged(Algorithm::HS256, &[7; 32], &claims);
            assert_eq!(auth().verify(&token), Err(AuthError::NotValid), "{claim}: {value}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in ["", ".", "..", "a.b.c", "ä.ö.ü", &"a".repeat(MAX_LEN + 1)] {
            assert_eq!(auth().verify(text), Err(AuthError::NotValid));
        }
    }

    #[test]
    fn a_short_secret_is_refused_and_none_is_shown() {
        assert_eq!("0123456789abcdef".parse::<Secret>().expect_err("short"), ShortSecret);
        let secret: Secret = "0123456789abcdef0123456789abcdef".parse().expect("long enough");
        assert_eq!(format!("{secret:?}"), "Secret(redacted)");
        assert!(!format!("{:?}", Auth::new(&secret)).contains("0123"));
        assert_ne!(Secret::random().as_bytes(), Secret::random().as_bytes());
    }
}
