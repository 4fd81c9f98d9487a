//! Claims of codes and refresh tokens, those of many requests in one statement of each kind: SQLite is asked for all that stand side
//! by side in a group of its writer, before the first of them runs. Nobody was told of any of them yet, so they may go in any
//! order; a request without a claim among them keeps its place.
//!
//! The statement says how many it claimed and not which. Nearly always it is all of them: each was looked up a moment ago. Where one is
//! lost, because another request was first or something was revoked meanwhile, the transaction begins again, and the statement says
//! which it claimed: then each row of it goes from thread to thread.

use std::collections::HashSet;

use sqlx::Arguments as _;
use sqlx::sqlite::SqliteArguments;

use super::codes::{claim_code, claim_codes, unused};
use super::refresh::{alive, claim_token, claim_tokens};
use super::statements::run_together;
use super::{Connection, Tx, to_json};
use crate::protocol::grant::GRACE;

macro_rules! begin {
    () => {
        "BEGIN IMMEDIATE"
    };
}

/// What is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Code,
    RefreshToken,
}

/// The claim with which a transaction begins.
#[derive(Debug)]
pub struct Claim {
    kind: Kind,
    digest: String,
    now: i64,
}

impl Claim {
    /// Of the code with this digest, at `now`, in unix seconds.
    #[must_use]
    pub fn of_code(digest: &str, now: i64) -> Claim {
        let (kind, digest) = (Kind::Code, digest.to_owned());
        Claim { kind, digest, now }
    }

    /// Of the refresh token with this digest, at `now`, in unix seconds.
    pub(super) fn of_token(digest: &str, now: i64) -> Claim {
        let (kind, digest) = (Kind::RefreshToken, digest.to_owned());
        Claim { kind, digest, now }
    }
}

/// Digests of what was claimed ahead: codes whose consent stands, and refresh tokens.
#[derive(Default)]
pub(super) struct Claimed {
    codes: HashSet<String>,
    tokens: HashSet<String>,
}

impl Claimed {
    pub(super) fn clear(&mut self) {
        self.codes.clear();
        self.tokens.clear();
    }

    /// True for the first who asks for what was claimed ahead: whoever comes with the same one claims for itself.
    pub(super) fn take(&mut self, kind: Kind, digest: &str) -> bool {
        self.of(kind).remove(digest)
    }

    fn of(&mut self, kind: Kind) -> &mut HashSet<String> {
        match kind {
            Kind::Code => &mut self.codes,
            Kind::RefreshToken => &mut self.tokens,
        }
    }
}

/// What the claims of a list tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// How many were made.
    Counted,
    /// Which ones, each in a row of its own.
    Told,
}

impl Tx {
    /// Claims what these requests begin with, and opens the transaction before that if it `begins` here. A request whose clock says
    /// something else than the first one's claims for itself, and so does one whose claim was lost. False when a claim was lost and they
    /// are only [`Counted`](Outcome::Counted): the caller must roll back, because the others are made and nobody knows which.
    ///
    /// Each kind is one call of SQLite, the first one together with the `BEGIN`: between two calls this thread and that of the
    /// connection wait for each other.
    pub(super) async fn claim_together<'c>(
        &mut self,
        begins: bool,
        outcome: Outcome,
        claims: impl Iterator<Item = &'c Claim> + Clone,
    ) -> Result<bool, sqlx::Error> {
        let Connection::Sqlite(connection) = &mut self.connection else {
            return Err(sqlx::Error::WorkerCrashed);
        };
        let now = claims.clone().next().map(|claim| claim.now);
        let mut is_open = !begins;
        for kind in [Kind::Code, Kind::RefreshToken] {
            let alike = |claim: &&Claim| claim.kind == kind && Some(claim.now) == now;
            let digests: HashSet<&str> = claims
                .clone()
                .filter(alike)
                .map(|claim| claim.digest.as_str())
                .collect();
            let Some(now) = now.filter(|_| !digests.is_empty()) else {
                continue;
            };
            let opens = usize::from(!is_open);
            is_open = true;
            let text = kind.texts()[outcome as usize][opens];
            let values = kind.values(&digests, now)?;
            let claimed: Vec<String> = match outcome {
                Outcome::Told => {
                    let text = sqlx::query_scalar_with(text, values);
                    text.fetch_all(&mut **connection).await?
                }
                Outcome::Counted => {
                    let text = sqlx::query_with(text, values);
                    let changed = run_together(connection, text, 1 + opens).await?;
                    if changed != digests.len() as u64 {
                        return Ok(false);
                    }
                    digests.into_iter().map(str::to_owned).collect()
                }
            };
            self.claimed.of(kind).extend(claimed);
        }
        if !is_open {
            sqlx::query(begin!()).execute(&mut **connection).await?;
        }
        Ok(true)
    }
}

impl Kind {
    /// The claims of a list, by [`Outcome`], without a `BEGIN` and with it.
    const fn texts(self) -> [[&'static str; 2]; 2] {
        macro_rules! texts {
            ($claim:ident) => {
                [
                    [$claim!(), concat!(begin!(), "; ", $claim!())],
                    [
                        concat!($claim!(), " RETURNING digest"),
                        concat!(begin!(), "; ", $claim!(), " RETURNING digest"),
                    ],
                ]
            };
        }
        match self {
            Kind::Code => texts!(claim_codes),
            Kind::RefreshToken => texts!(claim_tokens),
        }
    }

    fn values(self, digests: &HashSet<&str>, now: i64) -> Result<SqliteArguments, sqlx::Error> {
        let mut values = SqliteArguments::default();
        let mut add = || {
            values.add(to_json(digests))?;
            values.add(now)?;
            match self {
                Kind::Code => Ok(()),
                Kind::RefreshToken => values.add(now - GRACE),
            }
        };
        add().map_err(sqlx::Error::Encode)?;
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;
    use crate::protocol::event::{Caller, Entry, Event};
    use crate::store::{Access, Location, RefreshToken, Refreshed, Rotation, Store, beside};

    const NOW: i64 = 1_795_219_200;
    // …200 is NOW, …260 a minute later, …140 a minute before.
    const ROWS: &str = "
        INSERT INTO users (id, username, origin, claims, created_at) VALUES ('u', 'u', 'test', '{}', 0);
        INSERT INTO consents (id, user_id, client_id, resources, redirect, scope, fingerprint, created_at, updated_at) VALUES
            ('c', 'u', 'c', '[]', '', '', '', 0, 0);
        INSERT INTO codes (digest, consent_id, grant_facts, redirect_uri, expires_at) VALUES
            ('good', 'c', '{}', '', 1795219260), ('expired', 'c', '{}', '', 1795219200), ('later', 'c', '{}', '', 1795219260),
            ('withdrawn', 'none', '{}', '', 1795219260);
        INSERT INTO grants (id, user_id, client_id, scope, resources, auth_time, amr, sid, created_at, expires_at, revoked_at) VALUES
            ('alive', 'u', 'c', '', '[]', 0, '[]', '', 0, 1795219260, NULL), ('revoked', 'u', 'c', '', '[]', 0, '[]', '', 0, 1795219260, 1);
        INSERT INTO refresh_tokens (digest, grant_id, successor, created_at, expires_at) VALUES
            ('good', 'alive', 'next', 0, 1795219260), ('other', 'alive', 'another', 0, 1795219260),
            ('revoked', 'revoked', 'none', 0, 1795219260), ('expired', 'alive', 'none', 0, 1795219200),
            ('before the last', 'alive', 'the last', 0, 1795219260);
        INSERT INTO refresh_tokens (digest, grant_id, successor, created_at, expires_at, rotated_at) VALUES
            ('long rotated', 'alive', 'none', 0, 1795219260, 1795219139), ('the last', 'alive', 'none', 0, 1795219260, 1795219200);";

    /// A statement on the writer's connection.
    async fn run(tx: &mut Tx, statement: &'static str) -> Result<(), sqlx::Error> {
        let Connection::Sqlite(connection) = &mut tx.connection else {
            return Ok(());
        };
        let done = sqlx::raw_sql(statement).execute(&mut **connection).await;
        done.map(|_| ())
    }

    async fn store_with_rows(folder: &tempfile::TempDir) -> Store {
        let location = Location::Sqlite(folder.path().join("a.db"));
        let store = Store::open(&location, Access::Serve).await.unwrap();
        let added = store.write((), |tx, ()| Box::pin(run(tx, ROWS)));
        added.await.unwrap();
        store
    }

    /// Runs `jobs` as one group: they wait in the queue, so many of them, while the writer is kept at another.
    async fn as_one_group<T>(store: &Store, count: usize, jobs: impl Future<Output = T>) -> T {
        let (begun, may_end) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let gates = (Arc::clone(&begun), Arc::clone(&may_end));
        let first = store.write(gates, |_, (begun, may_end)| {
            Box::pin(async {
                begun.add_permits(1);
                let _ = may_end.acquire().await;
                Ok(())
            })
        });
        let queued = async {
            let _ = begun.acquire().await;
            let open = async {
                while store.load().queued < count {
                    tokio::task::yield_now().await;
                }
                may_end.add_permits(1);
            };
            tokio::join!(jobs, open).0
        };
        let (first, done) = tokio::join!(first, queued);
        first.unwrap();
        done
    }

    #[tokio::test]
    async fn a_claim_of_a_group_that_fails_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_with_rows(&folder).await;
        let claiming = || {
            store.write_after(Some(Claim::of_code("good", NOW)), (), |tx, ()| {
                Box::pin(async { Ok(tx.claimed.take(Kind::Code, "good")) })
            })
        };
        let failing = store.write((), |tx, ()| {
            Box::pin(run(tx, "INSERT INTO nowhere VALUES (1)"))
        });
        let both = async { tokio::join!(claiming(), failing) };
        let (claimed, failed) = as_one_group(&store, 2, both).await;
        assert!(claimed.unwrap());
        failed.unwrap_err();
        assert!(!claiming().await.unwrap());
    }

    #[tokio::test]
    async fn in_a_group_with_a_claim_that_is_lost_each_has_its_own_outcome() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_with_rows(&folder).await;
        let runs = Arc::new(AtomicUsize::new(0));
        let counting = store.write(Arc::clone(&runs), |_, runs| {
            Box::pin(async {
                runs.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
        });
        let rotate = |event: &str, digest: &str, successor: &str| {
            let rotation = Rotation {
                digest: digest.to_owned(),
                successor: RefreshToken {
                    digest: successor.to_owned(),
                    successor: format!("after {successor}"),
                    grant_id: "alive".to_owned(),
                    created_at: NOW,
                    expires_at: NOW + 60,
                },
                opaque: None,
            };
            let user = "u".to_owned();
            let entry = Entry::new(event.to_owned(), Event::SignIn { user }, Caller::Operator);
            store.rotate(rotation, entry)
        };
        let all = async {
            tokio::join!(
                counting,
                rotate("1", "good", "next"),
                rotate("2", "revoked", "none"),
                rotate("3", "other", "another"),
                rotate("4", "good", "next"),
            )
        };
        let all = as_one_group(&store, 5, all);
        let (_, good, revoked, other, again) = Box::pin(all).await;
        assert_eq!(runs.load(Ordering::Relaxed), 2, "they began again");
        assert_eq!(good.unwrap(), Refreshed::Rotated);
        assert_eq!(revoked.unwrap(), Refreshed::Lost);
        assert_eq!(other.unwrap(), Refreshed::Rotated);
        assert_eq!(again.unwrap(), Refreshed::Rotated);
        for (digest, is_kept) in [("next", true), ("another", true), ("none", false)] {
            let kept = store.refresh_token(digest).await.unwrap();
            assert_eq!(kept.is_some(), is_kept, "{digest}");
        }
        let events = store.write((), |tx, ()| {
            const SQL: &str = "SELECT id FROM audit ORDER BY id";
            Box::pin(async { beside!(tx, c => sqlx::query_scalar(SQL).fetch_all(c).await) })
        });
        let events: Vec<String> = events.await.unwrap();
        assert_eq!(events, ["1", "3", "4"]);
    }

    #[tokio::test]
    async fn a_claim_made_ahead_is_told_once_and_another_clock_claims_for_itself() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_with_rows(&folder).await;
        let told = store.write((), |tx, ()| {
            Box::pin(async move {
                let claims = [
                    Claim::of_code("good", NOW),
                    Claim::of_code("good", NOW),
                    // Its clock differs, so it claims for itself.
                    Claim::of_code("later", NOW + 1),
                    Claim::of_token("good", NOW),
                    Claim::of_token("other", NOW),
                ];
                let all = tx
                    .claim_together(false, Outcome::Counted, claims.iter())
                    .await?;
                let codes = ["good", "later", "good"];
                let codes = codes.map(|digest| tx.claimed.take(Kind::Code, digest));
                let tokens = ["good", "other", "good", "revoked"];
                let tokens = tokens.map(|digest| tx.claimed.take(Kind::RefreshToken, digest));
                // Of a code there is one claim; of a token several requests may come within its grace.
                let code = tx
                    .claim_together(false, Outcome::Counted, claims[..1].iter())
                    .await?;
                let token = tx
                    .claim_together(false, Outcome::Counted, claims[3..].iter())
                    .await?;
                Ok(((all, codes, tokens), (code, token)))
            })
        });
        let ((all, codes, tokens), again) = told.await.unwrap();
        assert!(all);
        assert_eq!(codes, [true, false, false]);
        assert_eq!(tokens, [true, true, false, false]);
        assert_eq!(again, (false, true));
    }

    #[tokio::test]
    async fn what_cannot_be_claimed_refuses_those_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_with_rows(&folder).await;
        for missing in [
            Claim::of_code("expired", NOW),
            Claim::of_code("withdrawn", NOW),
            Claim::of_code("unknown", NOW),
            Claim::of_token("revoked", NOW),
            Claim::of_token("unknown", NOW),
            Claim::of_token("expired", NOW),
            Claim::of_token("long rotated", NOW),
            Claim::of_token("before the last", NOW),
        ] {
            let beside = match missing.kind {
                Kind::Code => Claim::of_code("later", missing.now),
                Kind::RefreshToken => Claim::of_token("other", missing.now),
            };
            let told = store.write([beside, missing], |tx, claims| {
                Box::pin(async move {
                    let all = tx
                        .claim_together(false, Outcome::Counted, claims.iter())
                        .await?;
                    let told = tx.claimed.take(claims[0].kind, &claims[0].digest);
                    run(tx, "UPDATE codes SET used_at = NULL WHERE digest = 'later'").await?;
                    run(
                        tx,
                        "UPDATE refresh_tokens SET rotated_at = NULL WHERE digest = 'other'",
                    )
                    .await?;
                    let all_told = tx
                        .claim_together(false, Outcome::Told, claims.iter())
                        .await?;
                    run(tx, "UPDATE codes SET used_at = NULL WHERE digest = 'later'").await?;
                    let [beside, missing] = claims;
                    let each =
                        [beside, missing].map(|claim| tx.claimed.take(claim.kind, &claim.digest));
                    Ok((all, told, all_told, each))
                })
            });
            assert_eq!(told.await.unwrap(), (false, false, true, [true, false]));
        }
    }
}
