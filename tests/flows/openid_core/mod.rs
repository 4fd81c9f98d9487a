//! OpenID Connect Core 1.0 (rules A-30, A-80 … A-83, A-85), in the way that the OpenID Foundation's suite looks at it: a plain
//! browser without script, by element ids. `oidcc-…` names the suite's module that a test stands for.

mod keys;
mod pages;
mod prompts;
mod requests;
mod subjects;
mod tokens;
mod vectors;

use anyhow::Result;

use super::relying_party::RelyingParty;
use crate::browser::User;
use crate::world::{Setup, World};

/// The client of the examples, with its second URI for answers, and one that wants ES256; the user of §5.3.2.
const CLIENTS: &str = r#"
[[clients]]
id = "s6BhdRkqt3"
client_name = "A website"
secret_file = "robot"
redirect_uris = ["https://client.example.org/cb", "https://client.example.org/cb?tenant=7"]
grant_types = ["authorization_code", "refresh_token"]

[[clients]]
id = "elliptic"
client_name = "A website that likes curves"
secret_file = "robot"
redirect_uris = ["https://client.example.org/cb"]
id_token_signed_response_alg = "ES256"
grant_types = ["authorization_code", "refresh_token"]

[[users]]
username = "jane"
password_file = "password"
name = "Jane Doe"
given_name = "Jane"
family_name = "Doe"
preferred_username = "j.doe"
picture = "http://example.com/janedoe/me.jpg"
email = "janedoe@example.com"
email_verified = true
phone_number = "+1 (310) 123-4567"
phone_number_verified = false
address = { street_address = "1234 Hollywood Blvd.", locality = "Los Angeles", region = "CA", postal_code = "90210", country = "US" }
"#;

/// A server with those, and the client of the examples.
async fn start() -> Result<(World, RelyingParty)> {
    let world = World::start(Setup {
        more: CLIENTS,
        ..Setup::default()
    })
    .await?;
    let site = RelyingParty::confidential(&world, "s6BhdRkqt3");
    Ok((world, site))
}

fn jane(world: &World) -> User {
    User {
        name: "jane".to_owned(),
        ..world.user.clone()
    }
}
