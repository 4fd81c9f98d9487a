//! Claims of codes and refresh tokens, those of many requests in one call of each kind: SQLite is asked for all that stand side
//! by side in a group of its writer, before the first of them runs. Nobody was told of any of them yet, so they may go in any
//! order; a request without a claim among them keeps its place.
//!
//! A call asks what can be claimed and then claims it, which is safe because nobody else writes between the two: the transaction is
//! opened for writing. Their counts are compared all the same.

use std::collections::HashMap;
use std::mem;

use super::codes::{claim_code, claim_codes, count_consents, unused};
use super::refresh::{alive, claim_token, claim_tokens};
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

    /// Of the refresh token with this digest.
    pub(super) fn of_token(digest: &str, now: i64) -> Claim {
        let (kind, digest) = (Kind::RefreshToken, digest.to_owned());
        Claim { kind, digest, now }
    }
}

/// What came of a claim before its request ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ahead {
    /// It is not made yet.
    Unmade,
    /// The code or token could not be claimed.
    Lost,
    /// It was claimed: how many consents a code has; 1 for a token.
    Claimed(i64),
}

/// Claims that were made ahead, by digest.
#[derive(Default)]
pub(super) struct Claimed {
    codes: HashMap<String, Ahead>,
    tokens: HashMap<String, Ahead>,
}

impl Claimed {
    pub(super) fn clear(&mut self) {
        self.codes.clear();
        self.tokens.clear();
    }

    /// The outcome, for the first who asks: whoever comes with the same one claims for itself.
    pub(super) fn take(&mut self, kind: Kind, digest: &str) -> Ahead {
        self.of(kind).remove(digest).unwrap_or(Ahead::Unmade)
    }

    fn of(&mut self, kind: Kind) -> &mut HashMap<String, Ahead> {
        match kind {
            Kind::Code => &mut self.codes,
            Kind::RefreshToken => &mut self.tokens,
        }
    }
}

impl Tx {
    /// Opens the transaction and claims what its first requests begin with.
    pub(super) async fn begin<'c>(
        &mut self,
        claims: impl Iterator<Item = &'c Claim> + Clone,
    ) -> Result<(), sqlx::Error> {
        self.claim_all(true, claims).await
    }

    /// Claims what these requests begin with. One whose clock says something else than the first one's claims for itself.
    pub(super) async fn claim_together<'c>(
        &mut self,
        claims: impl Iterator<Item = &'c Claim> + Clone,
    ) -> Result<(), sqlx::Error> {
        self.claim_all(false, claims).await
    }

    /// Each kind is one call of SQLite, the first one together with the `BEGIN`: between two calls this thread and that of the
    /// connection wait for each other.
    async fn claim_all<'c>(
        &mut self,
        begins: bool,
        claims: impl Iterator<Item = &'c Claim> + Clone,
    ) -> Result<(), sqlx::Error> {
        const CODES: [&str; 2] = [claim_codes!(), concat!(begin!(), "; ", claim_codes!())];
        const TOKENS: [&str; 2] = [claim_tokens!(), concat!(begin!(), "; ", claim_tokens!())];
        let Connection::Sqlite(connection) = &mut self.connection else {
            return Ok(());
        };
        let now = claims.clone().next().map(|claim| claim.now);
        let mut is_open = !begins;
        for kind in [Kind::Code, Kind::RefreshToken] {
            let alike = |claim: &&Claim| claim.kind == kind && Some(claim.now) == now;
            let digests: Vec<&str> = claims
                .clone()
                .filter(alike)
                .map(|claim| claim.digest.as_str())
                .collect();
            let Some(now) = now.filter(|_| !digests.is_empty()) else {
                continue;
            };
            let opens = usize::from(!mem::replace(&mut is_open, true));
            let statements = match kind {
                Kind::Code => sqlx::query_scalar(CODES[opens])
                    .bind(to_json(&digests))
                    .bind(now),
                Kind::RefreshToken => sqlx::query_scalar(TOKENS[opens])
                    .bind(to_json(&digests))
                    .bind(now)
                    .bind(now - GRACE),
            };
            let rows: Vec<String> = statements.fetch_all(&mut **connection).await?;
            let all = self.claimed.of(kind);
            let digests = digests.into_iter();
            all.extend(digests.map(|digest| (digest.to_owned(), Ahead::Lost)));
            let claimed = outcome(&rows)?.into_iter();
            all.extend(claimed.map(|(digest, count)| (digest, Ahead::Claimed(count))));
        }
        if !is_open {
            sqlx::query(begin!()).execute(&mut **connection).await?;
        }
        Ok(())
    }
}

/// What a call claimed, from its two rows: what could be claimed, with the count of each, and how many were. An error when they differ
/// or one is missing: then nothing that was read can be relied on, and each request claims for itself.
fn outcome(rows: &[String]) -> Result<Vec<(String, i64)>, sqlx::Error> {
    let [claimable, claimed] = rows else {
        return Err(sqlx::Error::WorkerCrashed);
    };
    let claimable: Vec<(String, i64)> =
        serde_json::from_str(claimable).map_err(|error| sqlx::Error::Decode(error.into()))?;
    if *claimed == claimable.len().to_string() {
        Ok(claimable)
    } else {
        let counts = format!("{claimed} of {} were claimed", claimable.len());
        Err(sqlx::Error::Decode(counts.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Access, Location, Store};

    const NOW: i64 = 1_795_219_200;

    /// A statement on the writer's connection.
    async fn run(tx: &mut Tx, statement: &'static str) -> Result<(), sqlx::Error> {
        let Connection::Sqlite(connection) = &mut tx.connection else {
            return Ok(());
        };
        let done = sqlx::raw_sql(statement).execute(&mut **connection).await;
        done.map(|_| ())
    }

    #[test]
    fn claims_that_differ_from_what_was_read_are_an_error() {
        let outcome = |rows: &[&str]| {
            let rows: Vec<String> = rows.iter().copied().map(str::to_owned).collect();
            outcome(&rows)
        };
        let claimed = outcome(&[r#"[["a",1],["b",0]]"#, "2"]).unwrap();
        assert_eq!(claimed, [("a".to_owned(), 1), ("b".to_owned(), 0)]);
        assert_eq!(outcome(&["[]", "0"]).unwrap(), []);
        for rows in [
            &[r#"[["a",1],["b",0]]"#, "1"][..],
            &["[]", "1"],
            &["[]"],
            &[],
            &["", "0"],
        ] {
            assert!(outcome(rows).is_err(), "{rows:?}");
        }
    }

    #[tokio::test]
    async fn a_claim_of_a_group_that_fails_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(folder.path().join("a.db"));
        let store = Store::open(&location, Access::Serve).await.unwrap();
        let added = store.write((), |tx, ()| {
            Box::pin(run(
                tx,
                "INSERT INTO codes (digest, consent_id, grant_facts, redirect_uri, expires_at) VALUES ('good', 'c', '{}', '', 1795219260)",
            ))
        });
        added.await.unwrap();
        // While the first is committed, the others become one group.
        let first = store.write((), |_, ()| Box::pin(async { Ok(()) }));
        let claiming = store.write_after(Some(Claim::of_code("good", NOW)), (), |tx, ()| {
            Box::pin(async { Ok(tx.claimed.take(Kind::Code, "good")) })
        });
        let failing = store.write((), |tx, ()| {
            Box::pin(run(tx, "INSERT INTO nowhere VALUES (1)"))
        });
        let (first, claimed, failed) = tokio::join!(first, claiming, failing);
        first.unwrap();
        assert_eq!(claimed.unwrap(), Ahead::Claimed(0));
        failed.unwrap_err();
        let again = store.write_after(Some(Claim::of_code("good", NOW)), (), |tx, ()| {
            Box::pin(async { Ok(tx.claimed.take(Kind::Code, "good")) })
        });
        assert_eq!(again.await.unwrap(), Ahead::Lost);
    }

    #[tokio::test]
    async fn each_claim_has_its_own_outcome_and_is_told_once() {
        // NOW is 1795219200.
        const ROWS: &str = "
            INSERT INTO codes (digest, consent_id, grant_facts, redirect_uri, expires_at) VALUES
                ('good', 'c', '{}', '', 1795219260), ('expired', 'c', '{}', '', 1795219200), ('later', 'c', '{}', '', 1795219260);
            INSERT INTO users (id, username, origin, claims, created_at) VALUES ('u', 'u', 'test', '{}', 0);
            INSERT INTO grants (id, user_id, client_id, scope, resources, auth_time, amr, sid, created_at, expires_at, revoked_at) VALUES
                ('alive', 'u', 'c', '', '[]', 0, '[]', '', 0, 1795219260, NULL), ('revoked', 'u', 'c', '', '[]', 0, '[]', '', 0, 1795219260, 1);
            INSERT INTO refresh_tokens (digest, grant_id, successor, created_at, expires_at) VALUES
                ('good', 'alive', 'next', 0, 1795219260), ('revoked', 'revoked', 'none', 0, 1795219260);";
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(folder.path().join("a.db"));
        let store = Store::open(&location, Access::Serve).await.unwrap();
        let outcomes = store.write((), |tx, ()| {
            Box::pin(async move {
                run(tx, ROWS).await?;
                let claims = [
                    Claim::of_code("good", NOW),
                    Claim::of_code("expired", NOW),
                    Claim::of_code("unknown", NOW),
                    Claim::of_code("later", NOW + 1),
                    Claim::of_token("good", NOW),
                    Claim::of_token("revoked", NOW),
                ];
                tx.claim_together(claims.iter()).await?;
                let codes = ["good", "expired", "unknown", "later", "good"];
                let codes = codes.map(|digest| tx.claimed.take(Kind::Code, digest));
                let tokens = ["good", "revoked"];
                let tokens = tokens.map(|digest| tx.claimed.take(Kind::RefreshToken, digest));
                // Of one token several requests may come within its grace; of a code one.
                tx.claim_together(claims.iter()).await?;
                let code = tx.claimed.take(Kind::Code, "good");
                let token = tx.claimed.take(Kind::RefreshToken, "good");
                Ok((codes, tokens, code, token))
            })
        });
        let (codes, tokens, code, token) = outcomes.await.unwrap();
        let (lost, unmade) = (Ahead::Lost, Ahead::Unmade);
        assert_eq!(codes, [Ahead::Claimed(0), lost, lost, unmade, unmade]);
        assert_eq!(tokens, [Ahead::Claimed(1), lost]);
        assert_eq!((code, token), (lost, Ahead::Claimed(1)));
    }
}
