//! The audit trail: one row an event, in the transaction of the change it tells of.

use super::{Tx, write};
use crate::metrics::METRICS;
use crate::protocol::event::{Event, Outcome};

/// One line in the log for each event that was committed.
pub(super) fn log(events: &[Event]) {
    for event in events {
        let outcome = match event.outcome {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
        };
        METRICS.event(event.kind.as_str(), outcome);
        tracing::info!(
            target: "audit",
            kind = event.kind.as_str(),
            outcome = ?event.outcome,
            subject = event.subject.as_deref(),
            client_id = event.client_id.as_deref(),
            address = event.address.as_deref(),
            detail = %event.detail,
        );
    }
}

impl Tx {
    /// Adds an event, and a line to the log once it is committed. `id` is fresh.
    pub async fn record(&mut self, id: &str, event: &Event, now: i64) -> Result<(), sqlx::Error> {
        const SQL: &str = "INSERT INTO audit (id, at, kind, outcome, user_id, client_id, address, detail) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
        let outcome = match event.outcome {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
        };
        self.recorded.push(event.clone());
        write!(self, c => sqlx::query(SQL)
            .bind(id).bind(now).bind(event.kind.as_str()).bind(outcome)
            .bind(event.subject.as_deref()).bind(event.client_id.as_deref()).bind(event.address.as_deref()).bind(&event.detail)
            .execute(c).await.map(|_| ()))
    }
}
