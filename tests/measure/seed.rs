//! What the server finds in its store: clients, users, and single-use things whose secrets only we know. Written with the
//! server's own store functions; only rows that fill the tables ([`crate::fill`]) are not.

use anyhow::{Context as _, Result, ensure};
use auth_server::credential::password;
use auth_server::effects::Effects;
use auth_server::protocol::client::{Client, Kept, Metadata, Origin};
use auth_server::protocol::grant::{CodeRow, Grant, Terms};
use auth_server::protocol::scope::Scope;
use auth_server::protocol::secret::{DerivationKey, Kind, Secret, fingerprint, identifier};
use auth_server::store::{Access, Consent, Location, RefreshToken, Store, StoredClient, User};
use futures_util::TryStreamExt as _;

use crate::server::RESOURCE;

/// The public client of people.
pub(crate) const APP: &str = "app";
/// The client that is its own user and may introspect.
pub(crate) const MACHINE: &str = "machine";
/// The password of every user.
pub(crate) const PASSWORD: &str = "correct horse battery staple";
/// Where the answers to [`APP`] go.
const REDIRECT: &str = "https://app.example/callback";
/// Rows of one transaction.
const BATCH: usize = 2_000;
/// Transactions at the same time; `SQLite` takes them one after the other.
const AT_ONCE: usize = 8;
const DAY: i64 = 86_400;

/// A code that can be redeemed once.
#[derive(Clone)]
pub(crate) struct Code {
    pub(crate) digest: String,
    pub(crate) row: CodeRow,
    /// The token request.
    pub(crate) body: String,
}

/// A refresh token that was never used.
#[derive(Clone)]
pub(crate) struct Refresh {
    pub(crate) digest: String,
    pub(crate) successor: String,
    /// The successor's successor.
    pub(crate) next: String,
    pub(crate) grant: Grant,
    /// The token request.
    pub(crate) body: String,
}

/// An open store with the basics in it.
pub(crate) struct Seeds {
    store: Store,
    effects: Effects,
    derivation: DerivationKey,
    users: Vec<(String, String)>,
    pub(crate) machine_secret: String,
}

impl Seeds {
    /// Opens the store, beside a running server or before its first start, and adds clients and `users` people, each of
    /// whom allowed [`APP`] everything.
    pub(crate) async fn new(store: &Location, master: &[u8; 32], users: usize) -> Result<Self> {
        let store = Store::open(store, Access::Command).await?;
        let effects = Effects::system();
        let mut seeds = Self {
            store,
            derivation: DerivationKey::from_master(master),
            users: Vec::new(),
            machine_secret: String::new(),
            effects,
        };
        seeds.clients().await?;
        seeds.people(users).await?;
        Ok(seeds)
    }

    pub(crate) fn now(&self) -> i64 {
        self.effects.now()
    }

    async fn clients(&mut self) -> Result<()> {
        let app = Metadata {
            client_name: Some("Assistant".to_owned()),
            redirect_uris: vec![REDIRECT.to_owned()],
            grant_types: Some(vec![
                "authorization_code".to_owned(),
                "refresh_token".to_owned(),
            ]),
            token_endpoint_auth_method: Some("none".to_owned()),
            ..Metadata::default()
        };
        let machine = Metadata {
            client_name: Some("Night shift".to_owned()),
            grant_types: Some(vec!["client_credentials".to_owned()]),
            scope: Some("docs.read".to_owned()),
            ..Metadata::default()
        };
        let secret = Secret::mint(Kind::Client, self.effects.fresh());
        secret.reveal().clone_into(&mut self.machine_secret);
        let rows = vec![
            self.client(APP, app, None)?,
            self.client(MACHINE, machine, Some(&secret))?,
        ];
        self.store
            .write(rows, |tx, rows| {
                Box::pin(async move {
                    for row in rows {
                        tx.insert_client(row).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        Ok(())
    }

    fn client(
        &self,
        id: &str,
        metadata: Metadata,
        secret: Option<&Secret>,
    ) -> Result<StoredClient> {
        let digest = secret.map(Secret::digest);
        let client = Client::accept(metadata, Origin::Operator)
            .and_then(|accepted| {
                accepted.into_client(
                    id.to_owned(),
                    Origin::Operator,
                    digest.clone().map(Kept::Digest),
                )
            })
            .map_err(|refusal| anyhow::anyhow!("{}", refusal.description))?;
        Ok(StoredClient {
            id: id.to_owned(),
            origin: Origin::Operator,
            fingerprint: client.fingerprint(),
            metadata: client.metadata,
            secret_digest: digest.map(|digest| digest.as_str().to_owned()),
            secret_sealed: None,
            registration_digest: None,
            address: None,
            created_at: self.now(),
        })
    }

    async fn people(&mut self, count: usize) -> Result<()> {
        let hash = password::hash(PASSWORD, self.effects.fresh()).map_err(anyhow::Error::msg)?;
        let people: Vec<(User, Consent)> = (0..count)
            .map(|number| {
                let user = User {
                    id: identifier("us_", self.effects.fresh()),
                    username: username(number),
                    password_hash: Some(hash.clone()),
                    claims: serde_json::Map::new(),
                    disabled_at: None,
                };
                let consent = Consent {
                    id: identifier("co_", self.effects.fresh()),
                    user_id: user.id.clone(),
                    client_id: APP.to_owned(),
                    resources: vec![RESOURCE.to_owned()],
                    redirect: REDIRECT.to_owned(),
                    scope: Scope::parse("docs.read"),
                    fingerprint: fingerprint(APP),
                };
                (user, consent)
            })
            .collect();
        let ids = people
            .iter()
            .map(|(user, consent)| (user.id.clone(), consent.id.clone()));
        self.users = ids.collect();
        let now = self.now();
        for batch in people.chunks(BATCH) {
            self.store
                .write(batch.to_vec(), move |tx, batch| {
                    Box::pin(async move {
                        for (user, consent) in batch {
                            tx.insert_user(user, "operator", now).await?;
                            tx.upsert_consent(consent, now).await?;
                        }
                        Ok(())
                    })
                })
                .await?;
        }
        Ok(())
    }

    /// `count` codes, for one user after the other.
    pub(crate) async fn codes(&self, count: usize) -> Result<Vec<Code>> {
        let codes: Vec<Code> = (0..count)
            .map(|number| self.code(number))
            .collect::<Result<_>>()?;
        futures_util::stream::iter(codes.chunks(BATCH).map(Ok))
            .try_for_each_concurrent(AT_ONCE, |batch| async {
                let work = self.store.write(batch.to_vec(), |tx, batch| {
                    Box::pin(async move {
                        for code in batch {
                            tx.insert_code(&code.digest, &code.row).await?;
                        }
                        Ok(())
                    })
                });
                work.await
            })
            .await?;
        Ok(codes)
    }

    fn code(&self, number: usize) -> Result<Code> {
        let (grant, consent_id) = self.grant(number)?;
        let secret = Secret::mint(Kind::Code, self.effects.fresh());
        let verifier = identifier("v", self.effects.fresh()).repeat(2);
        let row = CodeRow {
            consent_id,
            grant,
            redirect_uri: REDIRECT.to_owned(),
            challenge: Some(fingerprint(&verifier)),
            expires_at: self.now() + DAY,
            used_at: None,
        };
        let redirect = "https%3A%2F%2Fapp.example%2Fcallback";
        let code = secret.reveal();
        Ok(Code {
            digest: secret.digest().as_str().to_owned(),
            row,
            body: format!(
                "grant_type=authorization_code&client_id={APP}&code={code}&redirect_uri={redirect}&code_verifier={verifier}"
            ),
        })
    }

    /// `count` refresh tokens, each of a family of its own.
    pub(crate) async fn refresh_tokens(&self, count: usize) -> Result<Vec<Refresh>> {
        let tokens: Vec<Refresh> = (0..count)
            .map(|number| self.refresh(number))
            .collect::<Result<_>>()?;
        let now = self.now();
        futures_util::stream::iter(tokens.chunks(BATCH).map(Ok))
            .try_for_each_concurrent(AT_ONCE, |batch| async move {
                let work = self.store.write(batch.to_vec(), move |tx, batch| {
                    Box::pin(async move {
                        for token in batch {
                            tx.insert_grant(&token.grant, now);
                            tx.insert_refresh(&RefreshToken {
                                digest: token.digest.clone(),
                                successor: token.successor.clone(),
                                grant_id: token.grant.id.clone(),
                                created_at: now,
                                expires_at: now + 30 * DAY,
                            });
                        }
                        Ok(())
                    })
                });
                work.await
            })
            .await?;
        Ok(tokens)
    }

    fn refresh(&self, number: usize) -> Result<Refresh> {
        let (grant, _) = self.grant(number)?;
        let secret = Secret::mint(Kind::Refresh, self.effects.fresh());
        let successor = secret.successor(&self.derivation);
        let token = secret.reveal();
        Ok(Refresh {
            digest: secret.digest().as_str().to_owned(),
            next: successor
                .successor(&self.derivation)
                .digest()
                .as_str()
                .to_owned(),
            successor: successor.digest().as_str().to_owned(),
            grant,
            body: format!("grant_type=refresh_token&client_id={APP}&refresh_token={token}"),
        })
    }

    fn grant(&self, number: usize) -> Result<(Grant, String)> {
        ensure!(!self.users.is_empty(), "no users");
        let user = self.users.get(number % self.users.len());
        let (user, consent) = user.context("no such user")?;
        let grant = Grant {
            id: identifier("gr_", self.effects.fresh()),
            subject: user.clone(),
            client_id: APP.to_owned(),
            scope: Scope::parse("docs.read"),
            resources: vec![RESOURCE.to_owned()],
            auth_time: self.now(),
            amr: vec!["pwd".to_owned()],
            sid: identifier("sid_", self.effects.fresh()),
            nonce: None,
            expires_at: self.now() + 365 * DAY,
            terms: Terms::default(),
        };
        Ok((grant, consent.clone()))
    }

    /// A token request of the machine itself.
    pub(crate) fn machine_body(&self) -> String {
        format!(
            "grant_type=client_credentials&{}",
            self.machine_proof(MACHINE)
        )
    }

    /// How a client with the machine's secret proves itself.
    pub(crate) fn machine_proof(&self, id: &str) -> String {
        format!("client_id={id}&client_secret={}", self.machine_secret)
    }

    /// The user to whom the first code or token belongs: someone for rows that fill the tables.
    pub(crate) fn somebody(&self) -> Result<&str> {
        self.users
            .first()
            .map(|(user, _)| user.as_str())
            .context("no users")
    }

    pub(crate) async fn close(self) {
        self.store.close().await;
    }
}

pub(crate) fn username(number: usize) -> String {
    format!("user-{number}")
}
