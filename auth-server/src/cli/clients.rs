//! `auth-server clients`: the applications that get tokens.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use auth_server::config::client_metadata;
use auth_server::flow::operator::Operator;
use auth_server::protocol::client::{Client, GrantType, Metadata, Method};
use auth_server::protocol::secret::Secret;
use auth_server::store::StoredClient;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::{self, Page, table};
use super::{Failure, Result, Source, mendable, password};

/// Most bytes that are read of a file of metadata.
const LARGEST_METADATA: u64 = 1 << 20;
/// Fewest characters of a secret that somebody chose.
const SHORTEST_SECRET: usize = 32;

/// Add, list and delete the applications that get tokens
///
/// Most assistants register by themselves or are known by their metadata document. A client is added here when it wants an
/// id and a secret to be pasted in, or when it is a machine. Clients of the configuration file are changed there.
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  auth-server clients add 'My app' --redirect-uri https://app.example.com/callback
  auth-server clients list")]
pub(super) enum Clients {
    Add(Add),
    List(List),
    Show(Show),
    Secret(Replace),
    /// Delete a client with everything that it was granted
    #[command(after_help = "Example:\n  auth-server clients delete cl_5mZ0kYb1vJ8")]
    Delete {
        /// The client's id
        id: String,
    },
    /// Print the `secret_digest` of a secret, for a client of the configuration file
    ///
    /// The secret is the first line of standard input and has at least 32 characters.
    #[command(after_help = "\
Example:
  head -c 32 /dev/urandom | base64 | tee secret.txt | auth-server clients digest")]
    Digest,
}

/// Add a client; its id and secret are printed, the secret only this once
#[derive(Args)]
#[command(after_help = "\
Examples:
  auth-server clients add 'My app' --redirect-uri https://app.example.com/callback
  auth-server clients add 'Phone app' --public --redirect-uri com.example.app:/callback
  auth-server clients add 'Nightly reports' --grant client_credentials --scope docs.read \\
    --default-resource https://docs.example.com/mcp
  auth-server clients add 'My bank' --metadata bank.json

with bank.json like
  {\"grant_types\": [\"urn:openid:params:grant-type:ciba\"], \"backchannel_token_delivery_mode\": \"poll\"}")]
pub(super) struct Add {
    /// The name for people
    name: String,
    /// Where the user returns to, compared as an exact string; can be repeated
    #[arg(long = "redirect-uri", value_name = "URI")]
    redirect_uris: Vec<String>,
    /// A grant; can be repeated [default: `authorization_code` and `refresh_token`]
    #[arg(long = "grant", value_name = "GRANT", value_parser = PossibleValuesParser::new(GrantType::ALL.map(GrantType::as_str)))]
    grants: Vec<String>,
    /// A scope that the client may ask for; can be repeated [default: any]
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// A client that cannot keep a secret: an app on a phone or in a browser
    #[arg(long, conflicts_with = "auth_method")]
    public: bool,
    /// How the client proves itself [default: `client_secret_basic`]
    #[arg(long, value_name = "METHOD", value_parser = PossibleValuesParser::new(Method::ALL.map(Method::as_str)))]
    auth_method: Option<String>,
    /// Where the client's public keys are, for `private_key_jwt`
    #[arg(long, value_name = "URL")]
    jwks_uri: Option<String>,
    /// The resource of a request that names none
    #[arg(long, value_name = "URL")]
    default_resource: Option<String>,
    /// Let a client with a secret go without PKCE
    #[arg(long, conflicts_with = "public")]
    no_pkce: bool,
    /// Everything else that a client has, in JSON, as in the configuration file; `-` for standard input
    ///
    /// The members are those of registration (RFC 7591) and the operator's own, like `token_exchange`. The other options
    /// go before it.
    #[arg(long, value_name = "FILE")]
    metadata: Option<PathBuf>,
    /// A chosen id [default: a fresh one]
    #[arg(long)]
    id: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// List the clients by id
///
/// Those of the configuration file come first, on the first page. Clients that are known by their metadata document are
/// not listed: their id is its URL.
#[derive(Args)]
#[command(after_help = "\
Examples:
  auth-server clients list
  auth-server clients list --dynamic --limit 1000 --json")]
pub(super) struct List {
    /// Only clients that registered themselves
    #[arg(long)]
    dynamic: bool,
    #[command(flatten)]
    page: Page,
}

/// Show everything about a client but its secret
#[derive(Args)]
#[command(after_help = "Example:\n  auth-server clients show reports")]
pub(super) struct Show {
    /// The client's id
    id: String,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// Replace a client's secret; the new one is printed only this once
///
/// The old secret fails from this moment on. Tokens that were issued stay good.
#[derive(Args)]
#[command(after_help = "Example:\n  auth-server clients secret cl_5mZ0kYb1vJ8")]
pub(super) struct Replace {
    /// The client's id
    id: String,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Clients {
    pub(super) async fn run(self, source: &Source) -> Result {
        match self {
            Clients::Add(add) => Box::pin(add.run(source)).await,
            Clients::List(list) => source.work(async |operator| list.run(operator).await).await,
            Clients::Show(show) => source.work(async |operator| show.run(operator).await).await,
            Clients::Secret(replace) => {
                source
                    .work(async |operator| replace.run(operator).await)
                    .await
            }
            Clients::Delete { id } => {
                source
                    .work(async |operator| {
                        operator.delete_client(&id).await?;
                        output::line(&format!("{id} is deleted"))
                    })
                    .await
            }
            Clients::Digest => digest(),
        }
    }
}

impl Add {
    async fn run(self, source: &Source) -> Result {
        let (id, as_json) = (self.id.clone(), self.json);
        let metadata = self.metadata()?;
        let adding = source.begin(async |operator| {
            let (client, secret) = operator.add_client(id, metadata).await?;
            if as_json {
                let mut shown = shown(&client);
                if let Some(secret) = &secret {
                    shown["client_secret"] = secret.reveal().into();
                }
                return output::json(&shown);
            }
            output::line(&format!("client_id:     {}", client.id))?;
            secret.as_ref().map_or(Ok(()), print_secret)
        });
        Box::pin(adding).await
    }

    fn metadata(self) -> Result<Metadata> {
        let written = self.metadata.as_deref().map(written).transpose()?;
        let mut metadata = written.unwrap_or_default();
        metadata.client_name = Some(self.name);
        if !self.redirect_uris.is_empty() {
            metadata.redirect_uris = self.redirect_uris;
        }
        if !self.scopes.is_empty() {
            metadata.scope = Some(self.scopes.join(" "));
        }
        if self.public {
            metadata.token_endpoint_auth_method = Some(Method::None.as_str().to_owned());
        }
        // What the file lists to choose from does not choose against them.
        if self.public || self.auth_method.is_some() {
            metadata.token_endpoint_auth_methods_supported = None;
        }
        if self.jwks_uri.is_some() {
            metadata.jwks = None;
        }
        let chosen = (self.auth_method, self.jwks_uri, self.default_resource);
        metadata.token_endpoint_auth_method = chosen.0.or(metadata.token_endpoint_auth_method);
        metadata.jwks_uri = chosen.1.or(metadata.jwks_uri);
        metadata.default_resource = chosen.2.or(metadata.default_resource);
        if self.no_pkce {
            metadata.require_pkce = Some(false);
        }
        let default = [GrantType::AuthorizationCode, GrantType::RefreshToken];
        let default = || default.map(|grant| grant.as_str().to_owned()).to_vec();
        let grants = Some(self.grants).filter(|grants| !grants.is_empty());
        let grants = grants.or(metadata.grant_types).unwrap_or_else(default);
        let code = GrantType::AuthorizationCode.as_str();
        if metadata.redirect_uris.is_empty() && grants.iter().any(|grant| grant == code) {
            return mendable(
                "--redirect-uri is missing: where does the user return to? (a machine needs none: --grant client_credentials)",
            );
        }
        metadata.grant_types = Some(grants);
        let method = metadata.token_endpoint_auth_method.as_deref();
        if self.no_pkce && method == Some(Method::None.as_str()) {
            return mendable("--no-pkce: PKCE is the only proof of a client without a secret");
        }
        Ok(metadata)
    }
}

/// The metadata of a file.
fn written(file: &Path) -> Result<Metadata> {
    let refuse = |why: &dyn std::fmt::Display| {
        Failure::Mendable(format!("--metadata {}: {why}", file.display()))
    };
    let mut text = String::new();
    let read = if file == Path::new("-") {
        let input = std::io::stdin().lock();
        input.take(LARGEST_METADATA + 1).read_to_string(&mut text)
    } else {
        let opened = std::fs::File::open(file);
        opened.and_then(|file| file.take(LARGEST_METADATA + 1).read_to_string(&mut text))
    };
    let length = read.map_err(|error| refuse(&error))? as u64;
    if length > LARGEST_METADATA {
        return Err(refuse(&format!("is larger than {LARGEST_METADATA} bytes")));
    }
    let members = serde_json::from_str(&text).map_err(|error| refuse(&error))?;
    client_metadata(members).map_err(|why| refuse(&why))
}

impl List {
    async fn run(self, operator: Operator<'_>) -> Result {
        let stored = operator
            .clients(&self.page.after(), self.page.limit, self.dynamic)
            .await?;
        let next = self.page.next(&stored, |client: &StoredClient| &client.id);
        let configured: Vec<&Client> = if self.page.is_first() && !self.dynamic {
            operator
                .config
                .clients
                .values()
                .map(AsRef::as_ref)
                .collect()
        } else {
            vec![]
        };
        let stored: Vec<(Client, i64)> = stored
            .iter()
            .map(|stored| Ok((stored.client()?, stored.created_at)))
            .collect::<Result<_>>()?;
        if self.page.json {
            let clients = configured.into_iter().map(shown);
            let stored = stored.iter().map(|(client, created_at)| {
                let mut shown = shown(client);
                shown["client_id_issued_at"] = (*created_at).into();
                shown
            });
            let clients: Vec<Value> = clients.chain(stored).collect();
            return output::json(&json!({"clients": clients, "next": next}));
        }
        let row = |client: &Client, added: String| {
            let method = client.metadata.token_endpoint_auth_method.clone();
            [
                client.id.clone(),
                client.name().to_owned(),
                client.origin.as_str().to_owned(),
                method.unwrap_or_default(),
                added,
            ]
        };
        let rows = configured
            .into_iter()
            .map(|client| row(client, String::new()))
            .chain(
                stored
                    .iter()
                    .map(|(client, created_at)| row(client, output::time(*created_at))),
            );
        table(["CLIENT", "NAME", "ORIGIN", "METHOD", "ADDED"], rows)?;
        self.page.tell_more(
            if self.dynamic {
                "clients list --dynamic"
            } else {
                "clients list"
            },
            next,
        )
    }
}

impl Show {
    async fn run(self, operator: Operator<'_>) -> Result {
        let shown = shown(&operator.client(&self.id).await?);
        if self.json {
            return output::json(&shown);
        }
        for (name, value) in shown.as_object().into_iter().flatten() {
            let value = match value {
                Value::String(text) => text.clone(),
                Value::Array(items) => {
                    let items = items.iter().map(|item| item.as_str().unwrap_or_default());
                    items.collect::<Vec<_>>().join(" ")
                }
                other => other.to_string(),
            };
            output::line(&format!("{name}: {value}"))?;
        }
        Ok(())
    }
}

impl Replace {
    async fn run(self, operator: Operator<'_>) -> Result {
        let secret = operator.replace_secret(&self.id).await?;
        if self.json {
            let shown = json!({"client_id": self.id, "client_secret": secret.reveal()});
            return output::json(&shown);
        }
        print_secret(&secret)
    }
}

fn print_secret(secret: &Secret) -> Result {
    output::line(&format!("client_secret: {}", secret.reveal()))?;
    output::hint("Keep the secret now: it cannot be shown again.")
}

fn digest() -> Result {
    let secret = password::secret_of_stdin("Secret: ")?;
    if secret.chars().count() < SHORTEST_SECRET {
        return mendable(format!(
            "a secret has at least {SHORTEST_SECRET} characters; one line of standard input"
        ));
    }
    output::line(Secret::presented(&secret).digest().as_str())
}

/// The metadata with the id in front, as registration answers with it.
fn shown(client: &Client) -> Value {
    let mut shown = json!(client.metadata);
    shown["client_id"] = client.id.clone().into();
    shown["origin"] = client.origin.as_str().into();
    shown
}
