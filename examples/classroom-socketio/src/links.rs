//! The links that are printed at the start.

use crate::{
    auth::{Auth, AuthError, Role},
    values::RoomName,
};

/// Creates the links of classes and of the administration, under a URL, each with what it is for.
///
/// # Errors
/// Fails if signing fails.
pub fn links(auth: &Auth, url: &str, classes: &[RoomName]) -> Result<Vec<(String, String)>, AuthError> {
    let url = url.trim_end_matches('/');
    let mut links = Vec::new();
    for class in classes {
        for (role, name) in [(Role::Teacher, "teacher"), (Role::Student, "student")] {
            links.push((format!("{class}, {name}"), format!("{url}/#token={}", auth.link(class, role)?)));
        }
    }
    links.push(("admin".to_owned(), format!("{url}/admin#token={}", auth.admin()?)));
    Ok(links)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Access, Secret};

    #[test]
    fn each_link_has_the_token_of_its_role_in_the_fragment() {
        let auth = Auth::new(&Secret::random());
        let classes = ["7b".parse().expect("valid"), "maths".parse().expect("valid")];
        let links = links(&auth, "https://school.example/", &classes).expect("signed");
        let found: Vec<_> = links
            .iter()
            .map(|(what, link)| {
                let (page, token) = link.split_once("#token=").expect("a token");
                let access = match auth.verify(token).expect("valid") {
                    Access::Class(pass) => format!("{} {:?}", pass.class, pass.role),
                    Access::Admin => "admin".to_owned(),
                };
                (what.as_str(), page, access)
            })
            .collect();
        let page = "https://school.example/";
        let expected = [
            ("7b, teacher", page, "7b Teacher"),
            ("7b, student", page, "7b Student"),
            ("maths, teacher", page, "maths Teacher"),
            ("maths, student", page, "maths Student"),
            ("admin", "https://school.example/admin", "admin"),
        ];
        assert_eq!(found, expected.map(|(what, page, access)| (what, page, access.to_owned())));
    }
}
