//! `auth-server resources`: the APIs that tokens are for.

use auth_server::config::Span;
use auth_server::protocol::jwt::Alg;
use auth_server::protocol::resource::{Form, Resource, ResourceScope};
use clap::{Args, Subcommand};
use serde_json::json;

use super::output::{self, Page, table};
use super::{Result, Source, mendable};

/// Longest life of an access token, in seconds.
const LONGEST_LIFE: i64 = 86_400;

/// Add, list and delete the APIs that tokens are for
///
/// A running server follows within seconds. Resources of the configuration file are changed there.
#[derive(Subcommand)]
#[command(after_help = "\
Example:
  auth-server resources add https://docs.example.com/mcp --name 'Example Documents' \\
    --scope 'docs.read=read your documents' --default docs.read")]
pub(super) enum Resources {
    Add(Add),
    List(List),
    /// Delete a resource; no new tokens are issued for it
    #[command(after_help = "Example:\n  auth-server resources delete https://docs.example.com/mcp")]
    Delete {
        /// The resource's URL, as it was added
        id: String,
    },
}

/// Add a resource, or replace the one with the same URL
#[derive(Args)]
#[command(after_help = "\
Example:
  auth-server resources add https://docs.example.com/mcp --name 'Example Documents' \\
    --scope 'docs.read=read your documents' --scope 'docs.write=change your documents' \\
    --default docs.read --alias https://docs.example.com")]
pub(super) struct Add {
    /// The URL that users type; it becomes the audience of the tokens, byte for byte
    #[arg(value_name = "URL")]
    id: String,
    /// The name for people [default: the URL]
    #[arg(long)]
    name: Option<String>,
    /// A scope, and what it allows, completing "… wants to"; can be repeated
    #[arg(long = "scope", value_name = "SCOPE=WORDS", value_parser = scope)]
    scopes: Vec<ResourceScope>,
    /// A scope that is granted when a request names none; can be repeated
    #[arg(long = "default", value_name = "SCOPE")]
    defaults: Vec<String>,
    /// Another spelling of the URL that clients send; can be repeated
    #[arg(long = "alias", value_name = "URL")]
    aliases: Vec<String>,
    /// Life of its access tokens, like 15m [default: that of the server]
    #[arg(long, value_name = "TIME", value_parser = Span::parse)]
    access_lifetime: Option<Span>,
    /// Its access tokens say nothing to those who hold them; the resource asks this server about each
    #[arg(long, conflicts_with = "signing_alg")]
    opaque: bool,
    /// What its access tokens are signed with, one of keys.algorithms [default: ES256]
    #[arg(long, value_name = "ALGORITHM", value_parser = alg)]
    signing_alg: Option<Alg>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// List the resources: those of the configuration file, then those that were added
#[derive(Args)]
#[command(after_help = "Example:\n  auth-server resources list --json | jq -r '.resources[].id'")]
pub(super) struct List {
    #[command(flatten)]
    page: Page,
}

impl Resources {
    pub(super) async fn run(self, source: &Source) -> Result {
        match self {
            Resources::Add(add) => add.run(source).await,
            Resources::List(list) => list.run(source).await,
            Resources::Delete { id } => {
                source
                    .work(async |operator| {
                        operator.delete_resource(&id).await?;
                        output::line(&format!("{id} is deleted"))
                    })
                    .await
            }
        }
    }
}

impl Add {
    async fn run(self, source: &Source) -> Result {
        let json = self.json;
        let resource = self.resource()?;
        source
            .begin(async |operator| {
                let new = operator.put_resource(resource.clone()).await?;
                if json {
                    return output::json(&json!(resource));
                }
                let what = if new { "added" } else { "replaced" };
                output::line(&format!("{} is {what}", resource.id))?;
                if new && operator.resources().await?.len() == 2 {
                    output::hint(
                        "it is the second: from now on a request names its `resource`, or its client has a default_resource",
                    )?;
                }
                Ok(())
            })
            .await
    }

    fn resource(self) -> Result<Resource> {
        let mut scopes = self.scopes;
        for name in &self.defaults {
            match scopes.iter_mut().find(|scope| scope.name == *name) {
                Some(scope) => scope.default = true,
                None => {
                    return mendable(format!(
                        "--default: `{name}` is not among the scopes; add --scope '{name}=…'"
                    ));
                }
            }
        }
        let access_lifetime = self
            .access_lifetime
            .map(|span| span.between("--access-lifetime", 1, LONGEST_LIFE))
            .transpose()?;
        Ok(Resource {
            name: self.name.unwrap_or_else(|| self.id.clone()),
            id: self.id,
            aliases: self.aliases,
            scopes,
            access_lifetime,
            access_token: if self.opaque { Form::Opaque } else { Form::Jwt },
            signing_alg: self.signing_alg,
        })
    }
}

impl List {
    async fn run(self, source: &Source) -> Result {
        source
            .work(async |operator| {
                let after = self.page.after();
                let resources: Vec<Resource> = operator
                    .resources()
                    .await?
                    .into_iter()
                    .skip_while(|resource| !self.page.is_first() && resource.id != after)
                    .skip(usize::from(!self.page.is_first()))
                    .take(usize::try_from(self.page.limit).unwrap_or(usize::MAX))
                    .collect();
                let next = self.page.next(&resources, |resource| &resource.id);
                if self.page.json {
                    return output::json(&json!({"resources": resources, "next": next}));
                }
                let rows = resources.iter().map(|resource| {
                    let place = if operator.is_configured_resource(&resource.id) {
                        "file"
                    } else {
                        "store"
                    };
                    [
                        resource.id.clone(),
                        resource.name.clone(),
                        place.to_owned(),
                        resource.scope().to_string(),
                        resource.default_scope().to_string(),
                    ]
                });
                table(["RESOURCE", "NAME", "FROM", "SCOPES", "DEFAULT"], rows)?;
                self.page.tell_more("resources list", next)
            })
            .await
    }
}

fn alg(text: &str) -> std::result::Result<Alg, String> {
    let names = || Alg::ALL.map(Alg::as_str).join(", ");
    Alg::parse(text).ok_or_else(|| format!("must be one of {}", names()))
}

fn scope(text: &str) -> std::result::Result<ResourceScope, String> {
    match text.split_once('=') {
        Some((name, words)) if !name.is_empty() && !words.trim().is_empty() => Ok(ResourceScope {
            name: name.to_owned(),
            description: words.trim().to_owned(),
            detail: None,
            default: false,
        }),
        _ => Err("write SCOPE=WORDS, like 'docs.read=read your documents'".into()),
    }
}
