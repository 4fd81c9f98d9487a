//! The audit trail: one row an event, in the transaction of the change it tells of. It is read by time, newest or oldest
//! first, page by page.

use super::{Error, Store, read};
use crate::metrics::METRICS;
use crate::protocol::event::{Entry, Kind};

/// One line in the log for each event that was committed, and one more in the metrics.
pub(super) fn log(recorded: &[(Entry, i64)]) {
    for (entry, _) in recorded {
        note(entry);
    }
}

/// Logs and counts an event; one that gets no row is only that. Tokens are issued thousands of times a second, so that the
/// line costs more than the token: it is for those who ask for it.
pub fn note(entry: &Entry) {
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                target: "audit",
                kind = entry.kind().as_str(),
                outcome = entry.outcome().as_str(),
                user_id = entry.user(),
                client_id = entry.client(),
                address = entry.caller.address(),
                request_id = entry.caller.request_id(),
                detail = entry.detail(),
            )
        };
    }
    METRICS.event(entry.kind().as_str(), entry.outcome().as_str());
    if entry.kind() == Kind::TokensIssued {
        line!(debug);
    } else {
        line!(info);
    }
}

/// One row of the trail.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Audited {
    /// The row's id.
    pub id: String,
    /// Unix seconds.
    pub at: i64,
    /// The word of [`Kind`](crate::protocol::event::Kind), or one of an earlier version.
    pub kind: String,
    /// The word of [`Outcome`](crate::protocol::event::Outcome).
    pub outcome: String,
    /// The user's id.
    pub user_id: Option<String>,
    /// The user's name, while there is such a user.
    pub username: Option<String>,
    /// The client's id.
    pub client_id: Option<String>,
    /// The caller's address, `operator` or `server`.
    pub address: Option<String>,
    /// The `x-request-id` of the answer.
    pub request_id: Option<String>,
    /// A few words more.
    pub detail: String,
}

/// A place between two rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Unix seconds of the last row.
    pub at: i64,
    /// Its id.
    pub id: String,
}

/// Which rows; absent means any.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Unix seconds, inclusive.
    pub since: Option<i64>,
    /// Unix seconds, exclusive.
    pub until: Option<i64>,
    /// A user's id.
    pub user: Option<String>,
    /// A client's id.
    pub client: Option<String>,
    /// The word of a kind.
    pub kind: Option<String>,
    /// The word of an outcome.
    pub outcome: Option<String>,
    /// An address, `operator` or `server`.
    pub address: Option<String>,
}

/// Which end of the trail comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As it happened.
    OldestFirst,
    /// The other way round.
    NewestFirst,
}

impl Audited {
    /// The place after this row.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor {
            at: self.at,
            id: self.id.clone(),
        }
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_fmt(format_args!("{}.{}", self.at, self.id))
    }
}

impl std::str::FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Cursor, String> {
        let parts = text.split_once('.');
        let cursor = parts.and_then(|(at, id)| {
            Some(Cursor {
                at: at.parse().ok()?,
                id: id.to_owned(),
            })
        });
        cursor.ok_or_else(|| format!("`{text}`: a cursor is what an earlier answer said"))
    }
}

/// What both orders select; they differ in the side of the cursor and the direction. `$1` and `$2` bound the walk along
/// the index by time.
macro_rules! select {
    ($side:literal, $direction:literal) => {
        concat!(
            "SELECT a.id, a.at, a.kind, a.outcome, a.user_id, u.username, a.client_id, a.address, a.request_id, a.detail \
             FROM audit a LEFT JOIN users u ON u.id = a.user_id \
             WHERE a.at >= $1 AND a.at < $2 AND (a.at, a.id) ", $side, " ($3, $4) \
             AND ($5 IS NULL OR a.user_id = $5) AND ($6 IS NULL OR a.client_id = $6) AND ($7 IS NULL OR a.kind = $7) \
             AND ($8 IS NULL OR a.outcome = $8) AND ($9 IS NULL OR a.address = $9) \
             ORDER BY a.at ", $direction, ", a.id ", $direction, " LIMIT $10"
        )
    };
}

impl Store {
    /// At most `limit` rows after `after`.
    pub async fn audited(
        &self,
        filter: &Filter,
        order: Order,
        after: Option<&Cursor>,
        limit: i64,
    ) -> Result<Vec<Audited>, Error> {
        let (mut since, mut until) = (filter.since.unwrap_or(0), filter.until.unwrap_or(i64::MAX));
        let (sql, start) = match order {
            Order::OldestFirst => (select!(">", "ASC"), (-1, "")),
            Order::NewestFirst => (select!("<", "DESC"), (i64::MAX, "")),
        };
        let (at, id) = after.map_or(start, |cursor| (cursor.at, cursor.id.as_str()));
        // The walk begins at the cursor, not at the end of the trail.
        match order {
            Order::OldestFirst => since = since.max(at),
            Order::NewestFirst => until = until.min(at.saturating_add(1)),
        }
        Ok(read!(self, c => sqlx::query_as(sql)
            .bind(since).bind(until).bind(at).bind(id)
            .bind(filter.user.as_deref()).bind(filter.client.as_deref()).bind(filter.kind.as_deref())
            .bind(filter.outcome.as_deref()).bind(filter.address.as_deref()).bind(limit)
            .fetch_all(c).await?))
    }
}
