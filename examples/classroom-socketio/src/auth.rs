//! Who may connect: the tokens of links, and those of persons.
//!
//! A token is a JSON Web Token (RFC 7519) with HS256. That of a link lets any number of persons into a
//! class; one who joins receives another, with an id and a name in it, for the next connections. The role
//! and the class are in the token, and nothing that a client sends changes them.

use std::{fmt, str::FromStr, time::Duration};

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode, errors::ErrorKind,
    get_current_timestamp,
};
use serde::{Deserialize, Serialize};

use crate::values::{Name, ParticipantId, RoomName};

/// How long a link is valid.
pub const LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// The length of a secret, at least: that of the hash function (RFC 7518 section 3.2).
pub const MIN_SECRET: usize = 32;

/// The length of a token that is looked at, at most.
pub const MAX_TOKEN: usize = 2048;

const AUDIENCE: &str = "classroom-socketio";

/// The secret that signs tokens.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Creates a random secret.
    pub fn random() -> Self {
        Self(Box::new(rand::random::<[u8; MIN_SECRET]>()))
    }
}

impl FromStr for Secret {
    type Err = ShortSecret;

    fn from_str(text: &str) -> Result<Self, ShortSecret> {
        if text.len() < MIN_SECRET { Err(ShortSecret) } else { Ok(Self(text.as_bytes().into())) }
    }
}

/// Redacted.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// The error of a secret that is too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret is shorter than {MIN_SECRET} bytes")]
pub struct ShortSecret;

/// What a person may do in a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Removes students.
    Teacher,
    /// Talks.
    Student,
}

/// A person in a class, as others see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Participant {
    /// The id, which stays the same as long as the page keeps its token.
    pub id: ParticipantId,
    /// The name.
    pub name: Name,
    /// The role.
    pub role: Role,
}

/// What a token lets its owner do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Enters a class.
    Class(Pass),
    /// Administers the server.
    Admin,
}

/// The right to enter a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// The class.
    pub class: RoomName,
    /// The role in it.
    pub role: Role,
    /// The person; `None` for a link.
    pub person: Option<(ParticipantId, Name)>,
    /// When the token expires, in seconds since 1970.
    pub expires: u64,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// It was valid once.
    #[error("the token has expired")]
    Expired,
    /// It is malformed, forged, signed with another algorithm, or for something else.
    #[error("the token is not valid")]
    NotValid,
    /// Signing failed.
    #[error("the token could not be signed")]
    Signing,
}

/// Signs and checks tokens.
pub struct Auth {
    signing: EncodingKey,
    checking: DecodingKey,
    validation: Validation,
}

impl Auth {
    /// Creates it with a secret.
    pub fn new(Secret(secret): &Secret) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "aud"]);
        validation.leeway = 0;
        validation.validate_nbf = true;
        let (signing, checking) = (EncodingKey::from_secret(secret), DecodingKey::from_secret(secret));
        Self { signing, checking, validation }
    }

    /// Creates the token of a link to a class.
    ///
    /// # Errors
    /// Fails if signing fails.
    pub fn link(&self, class: &RoomName, role: Role) -> Result<String, AuthError> {
        let expires = get_current_timestamp().saturating_add(LIFETIME.as_secs());
        self.pass(&Pass { class: class.clone(), role, person: None, expires })
    }

    /// Creates the token of an administrator.
    ///
    /// # Errors
    /// Fails if signing fails.
    pub fn admin(&self) -> Result<String, AuthError> {
        let exp = get_current_timestamp().saturating_add(LIFETIME.as_secs());
        self.sign(&Claims { role: ClaimedRole::Admin, class: None, sub: None, name: None, exp })
    }

    /// Creates the token of a person, which expires with that of the link.
    ///
    /// # Errors
    /// Fails if signing fails.
    pub fn person(&self, pass: &Pass, person: &Participant) -> Result<String, AuthError> {
        let person = Some((person.id.clone(), person.name.clone()));
        self.pass(&Pass { person, ..pass.clone() })
    }

    /// Returns what a token lets its owner do.
    ///
    /// # Errors
    /// Fails if the token is not valid.
    pub fn verify(&self, token: &str) -> Result<Access, AuthError> {
        if token.len() > MAX_TOKEN {
            return Err(AuthError::NotValid);
        }
        match decode::<Claims>(token, &self.checking, &self.validation) {
            Ok(decoded) => decoded.claims.access().ok_or(AuthError::NotValid),
            Err(error) if matches!(error.kind(), ErrorKind::ExpiredSignature) => Err(AuthError::Expired),
            Err(_) => Err(AuthError::NotValid),
        }
    }

    fn pass(&self, pass: &Pass) -> Result<String, AuthError> {
        let role = match pass.role {
            Role::Teacher => ClaimedRole::Teacher,
            Role::Student => ClaimedRole::Student,
        };
        let (sub, name) = pass.person.clone().unzip();
        self.sign(&Claims { role, class: Some(pass.class.clone()), sub, name, exp: pass.expires })
    }

    fn sign(&self, claims: &Claims) -> Result<String, AuthError> {
        let signed = Signed { aud: AUDIENCE, claims };
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

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ClaimedRole {
    Teacher,
    Student,
    Admin,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    role: ClaimedRole,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class: Option<RoomName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub: Option<ParticipantId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Name>,
    exp: u64,
}

#[derive(Serialize)]
struct Signed<'a> {
    aud: &'static str,
    #[serde(flatten)]
    claims: &'a Claims,
}

impl Claims {
    /// Returns what the claims permit, unless they contradict each other.
    fn access(self) -> Option<Access> {
        let role = match self.role {
            ClaimedRole::Teacher => Role::Teacher,
            ClaimedRole::Student => Role::Student,
            ClaimedRole::Admin => return self.class.is_none().then_some(Access::Admin),
        };
        let person = match (self.sub, self.name) {
            (Some(id), Some(name)) => Some((id, name)),
            (None, None) => None,
            _ => return None,
        };
        Some(Access::Class(Pass { class: self.class?, role, person, expires: self.exp }))
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn auth() -> Auth {
        Auth::new(&SECRET.parse().expect("long enough"))
    }

    fn forged(algorithm: Algorithm, key: &str, claims: &Value) -> String {
        let key = EncodingKey::from_secret(key.as_bytes());
        encode(&Header::new(algorithm), claims, &key).expect("signed")
    }

    fn claims() -> Value {
        let exp = get_current_timestamp() + 60;
        json!({"aud": AUDIENCE, "role": "student", "class": "7b", "sub": "1", "name": "Ann", "exp": exp})
    }

    #[test]
    fn a_link_names_a_class_and_a_role_and_no_person() {
        let class: RoomName = "7b".parse().expect("valid");
        for role in [Role::Teacher, Role::Student] {
            let token = auth().link(&class, role).expect("signed");
            let Ok(Access::Class(pass)) = auth().verify(&token) else { panic!("not valid") };
            assert_eq!((&pass.class, pass.role, pass.person), (&class, role, None));
        }
        assert_eq!(auth().verify(&auth().admin().expect("signed")), Ok(Access::Admin));
    }

    #[test]
    fn the_token_of_a_person_expires_with_the_link() {
        let expires = get_current_timestamp() + 30;
        let pass = Pass { class: "7b".parse().expect("valid"), role: Role::Student, person: None, expires };
        let (id, name) = ("1".parse().expect("valid"), "Ann".parse().expect("valid"));
        let person = Participant { id, name, role: Role::Student };
        let token = auth().person(&pass, &person).expect("signed");
        let expected = Pass { person: Some((person.id, person.name)), ..pass };
        assert_eq!(auth().verify(&token), Ok(Access::Class(expected)));
    }

    #[test]
    fn other_keys_and_algorithms_are_refused() {
        assert!(auth().verify(&forged(Algorithm::HS256, SECRET, &claims())).is_ok());
        let other = SECRET.replace('0', "1");
        for (algorithm, key) in
            [(Algorithm::HS256, &*other), (Algorithm::HS384, SECRET), (Algorithm::HS512, SECRET)]
        {
            assert_eq!(auth().verify(&forged(algorithm, key, &claims())), Err(AuthError::NotValid));
        }
        let body = BASE64.encode(claims().to_string());
        for header in [json!({"alg": "none"}), json!({"alg": "None", "typ": "JWT"})] {
            let head = BASE64.encode(header.to_string());
            assert_eq!(auth().verify(&format!("{head}.{body}.")), Err(AuthError::NotValid));
        }
    }

    #[test]
    fn a_changed_token_is_refused() {
        let token = forged(Algorithm::HS256, SECRET, &claims());
        let (head, rest) = token.split_once('.').expect("three parts");
        let (_, signature) = rest.split_once('.').expect("three parts");
        let mut claims = claims();
        claims["role"] = json!("teacher");
        let body = BASE64.encode(claims.to_string());
        assert_eq!(auth().verify(&format!("{head}.{body}.{signature}")), Err(AuthError::NotValid));
    }

    #[test]
    fn what_has_expired_is_refused() {
        let mut claims = claims();
        claims["exp"] = json!(get_current_timestamp() - 1);
        assert_eq!(auth().verify(&forged(Algorithm::HS256, SECRET, &claims)), Err(AuthError::Expired));
    }

    #[test]
    fn claims_that_contradict_each_other_are_refused() {
        for (claim, value) in [
            ("class", json!(null)),
            ("class", json!("")),
            ("name", json!(null)),
            ("name", json!("a\u{202e}")),
            ("sub", json!(null)),
            ("sub", json!("a b")),
            ("role", json!("admin")),
            ("role", json!("head")),
            ("aud", json!(null)),
            ("aud", json!("another")),
            ("exp", json!(null)),
            ("nbf", json!(get_current_timestamp() + 60)),
        ] {
            let mut claims = claims();
            claims[claim] = value.clone();
            let token = forged(Algorithm::HS256, SECRET, &claims);
            assert_eq!(auth().verify(&token), Err(AuthError::NotValid), "{claim}: {value}");
        }
        for text in ["", ".", "a.b.c", &"a".repeat(MAX_TOKEN + 1)] {
            assert_eq!(auth().verify(text), Err(AuthError::NotValid));
        }
    }

    #[test]
    fn a_short_secret_is_refused_and_none_is_shown() {
        assert_eq!("short".parse::<Secret>().expect_err("short"), ShortSecret);
        let secret: Secret = SECRET.parse().expect("long enough");
        assert_eq!(format!("{secret:?}"), "Secret(redacted)");
        assert!(!format!("{:?}", Auth::new(&secret)).contains("0123"));
    }
}
