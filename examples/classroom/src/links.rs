//! The links that are printed at the start.

use crate::{
    auth::{Auth, AuthError, Scope},
    values::RoomName,
};

/// Links with tickets, by what they are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links(Vec<(String, String)>);

impl Links {
    /// Creates the links of rooms and of the administration, under a URL.
    ///
    /// # Errors
    /// Fails if signing fails.
    pub fn new(auth: &Auth, url: &str, rooms: &[RoomName]) -> Result<Self, AuthError> {
        let url = url.trim_end_matches('/');
        let link = |path: &str, scope: &Scope| Ok(format!("{url}{path}#ticket={}", auth.ticket(scope)?));
        let mut links = Vec::new();
        for room in rooms {
            links.push((format!("{room}, teacher"), link("/", &Scope::Teacher(room.clone()))?));
            links.push((format!("{room}, student"), link("/", &Scope::Student(room.clone()))?));
        }
        links.push(("admin".to_owned(), link("/admin", &Scope::Admin)?));
        Ok(Self(links))
    }

    /// Returns each link with what it is for.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(what, link)| (what.as_str(), link.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Secret;

    #[test]
    fn each_link_has_the_ticket_of_its_role_in_the_fragment() {
        let auth = Auth::new(&Secret::random());
        let rooms = ["maths", "7 b"].map(|room| room.parse().expect("valid"));
        let links = Links::new(&auth, "https://school.example/", &rooms).expect("signed");
        let scopes: Vec<_> = links
            .iter()
            .map(|(what, link)| {
                let (page, ticket) = link.split_once("#ticket=").expect("a ticket");
                let name = "Ann".parse().expect("valid");
                (what, page, auth.exchange(ticket, Some(name)).expect("valid").identity.scope)
            })
            .collect();
        let [maths, b] = rooms;
        let page = "https://school.example/";
        assert_eq!(
            scopes,
            [
                ("maths, teacher", page, Scope::Teacher(maths.clone())),
                ("maths, student", page, Scope::Student(maths)),
                ("7 b, teacher", page, Scope::Teacher(b.clone())),
                ("7 b, student", page, Scope::Student(b)),
                ("admin", "https://school.example/admin", Scope::Admin),
            ]
        );
    }
}
