//! An authorization mechanism of a site's own: `site_roles FILE USER IDENTIFIER RIGHTS`
//!
//! The file has a role a line, `sales: fred bob`; access control lists name it as `role:sales`.

use std::collections::BTreeMap;
use std::error::Error;

use cyrus_acl::{
    Acl, AuthError, DeleteRight, Identifier, IdentifierError, Mechanism, Policy, Relation, Rights, Unix,
    explain,
};

/// Users as everywhere, and roles instead of groups. A server is given it as `StoreOptions::mechanism`.
struct Roles {
    users: Unix,
    members: BTreeMap<String, Vec<String>>,
}

impl Mechanism for Roles {
    fn canonical(&self, text: &str) -> Result<String, IdentifierError> {
        match text.strip_prefix("role:") {
            Some(role) if self.members.contains_key(role) => Ok(text.to_owned()),
            Some(role) => Err(IdentifierError::Refused(format!("there is no role {role:?}"))),
            None => self.users.canonical(text),
        }
    }

    fn groups(&self, userid: &str) -> Result<Vec<String>, AuthError> {
        let roles = self
            .members
            .iter()
            .filter(|(_, users)| users.iter().any(|user| user == userid));
        Ok(roles.map(|(role, _)| format!("role:{role}")).collect())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, user, identifier, rights] = args.as_slice() else {
        return Err("usage: site_roles FILE USER IDENTIFIER RIGHTS".into());
    };
    let mut members = BTreeMap::new();
    for line in std::fs::read_to_string(file)?.lines() {
        let (role, users) = line.split_once(':').ok_or("a line is ROLE: USER...")?;
        members.insert(
            role.to_owned(),
            users.split_whitespace().map(str::to_owned).collect(),
        );
    }
    let users = Unix::new().group_enable(false);
    let roles = Roles { users, members };
    let entry = (
        Identifier::canonical(identifier, &roles)?,
        Rights::parse(rights, DeleteRight::default())?,
    );
    let acl = Acl::from_entries([entry]);
    let user = roles.auth_state(user)?;
    print!("{}", explain(&acl, &user, Relation::Other, &Policy::default()));
    Ok(())
}
