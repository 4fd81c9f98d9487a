//! Telling others something, at an address that they registered for it.

use http::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::time::Instant;
use tracing::Instrument as _;
use url::Url;

use super::{AWAY, Cause, FetchError, Outbound, Share, explain};
use crate::metrics::METRICS;
use crate::protocol::secret::Secret;
use crate::trace;

/// What is told.
pub enum Message {
    /// A form.
    Form(String),
    /// JSON, from somebody whom the host knows by this bearer token.
    Json(String, Secret),
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum Told {
    /// The host took it.
    Taken,
    /// The host did not.
    Refused(FetchError),
    /// The host was not asked: it was away a moment ago, or was asked too often.
    NotAsked(FetchError),
}

impl Outbound {
    /// Posts a message at `now`, in unix seconds. Nothing of the answer is read but its status, of which 200 and 204 are good
    /// (Back-Channel Logout 1.0 §2.8, CIBA Core 1.0 §10.2).
    pub async fn notify(&self, url: &Url, message: Message, now: i64) -> Told {
        if let Err(why) = self.may_ask(url) {
            return Told::Refused(Cause::Useless.because(why));
        }
        let name = format!("POST {url}");
        if let Some((until, error)) = self.away.get(&name)
            && now < until
        {
            return Told::NotAsked(error);
        }
        let _slot = match self.admit(url, Share::Notices, now) {
            Ok(slot) => slot,
            Err(error) => return Told::NotAsked(error),
        };
        let asked = Instant::now();
        let span = trace::outbound(url.host_str().unwrap_or_default());
        let answer = self.post(url, message).instrument(span).await;
        let outcome = answer
            .as_ref()
            .err()
            .map_or("ok", |error| error.cause.word());
        METRICS.fetched(outcome, asked.elapsed());
        let Err(error) = answer else {
            return Told::Taken;
        };
        if error.cause == Cause::Away {
            let seconds = i64::try_from(asked.elapsed().as_secs()).unwrap_or(0);
            let entry = (now + seconds + AWAY, error.clone());
            self.away.insert(name, entry);
        }
        Told::Refused(error)
    }

    async fn post(&self, url: &Url, message: Message) -> Result<(), FetchError> {
        let (kind, body, bearer) = match message {
            Message::Form(body) => ("application/x-www-form-urlencoded", body, None),
            Message::Json(body, bearer) => ("application/json", body, Some(bearer)),
        };
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        if let Some(bearer) = bearer {
            let value = HeaderValue::from_str(&format!("Bearer {}", bearer.reveal()));
            let why = "the token is no value of a header";
            let mut value = value.map_err(|_| Cause::Useless.because(why))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        trace::name_parent(&mut headers);
        let request = self.client.post(url.clone()).headers(headers).body(body);
        let answer = request.send().await;
        let answer = answer.map_err(|error| Cause::Away.because(explain(&error)))?;
        match answer.status() {
            StatusCode::OK | StatusCode::NO_CONTENT => Ok(()),
            status => {
                let code = status.as_u16();
                let why = format!("the host answered with status {code}; only 200 and 204 count");
                Err(Cause::of(code).because(why))
            }
        }
    }
}
