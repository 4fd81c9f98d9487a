//! Trusted issuers: whether anything comes of them, and whether their keys can be had.

use std::collections::BTreeSet;

use super::Findings;
use crate::config::Config;
use crate::flow::client_keys;
use crate::outbound::Outbound;
use crate::protocol::client::GrantType;
use crate::protocol::trusted::{Keys, SpeaksFor, TrustedIssuer};

const ABOUT: &str = "trusted_issuers";

/// What the configuration says by itself.
pub(super) fn issuers(found: &mut Findings, config: &Config) {
    let (features, entries) = (config.features, &config.trusted_issuers);
    if entries.is_empty() {
        if features.jwt_bearer {
            found.warning(
                ABOUT,
                "nobody is trusted, so no JWT is a grant",
                "an entry in trusted_issuers, or features.jwt_bearer",
            );
        }
        return;
    }
    if !features.jwt_bearer && !features.token_exchange {
        found.warning(
            ABOUT,
            "issuers are named, and nobody may bring their JWTs",
            "features.jwt_bearer, or features.token_exchange",
        );
    }
    let mut wrong = false;
    for entry in entries {
        let says = |why: &str| format!("{}: {why}", entry.issuer);
        if takes_id_jag(entry) && !(features.jwt_bearer && features.id_jag) {
            wrong = true;
            found.warning(
                ABOUT,
                says("its identity assertions are switched off"),
                "features.id_jag and features.jwt_bearer, or id_jag of the entry",
            );
        }
        // Clients of the database are not looked at here.
        let client = entry.workload().and_then(|id| config.clients.get(id));
        if let Some(client) = client
            && (!client.may(GrantType::JwtBearer) || client.is_fapi())
        {
            wrong = true;
            let why = format!("its JWTs stand for `{}`, which cannot use them", client.id);
            let change = "grant_types of the client, which must not have the profile fapi2";
            found.error(ABOUT, says(&why), change);
        }
    }
    if !wrong {
        found.ok(ABOUT, format!("{} entries", entries.len()));
    }
}

fn takes_id_jag(entry: &TrustedIssuer) -> bool {
    matches!(entry.speaks_for, SpeaksFor::Users { id_jag: true, .. })
}

/// Whether the keys of each issuer can be had. Those of files were read with the configuration.
pub(super) async fn keys(found: &mut Findings, config: &Config, outbound: &Outbound, now: i64) {
    let mut asked = BTreeSet::new();
    for entry in &config.trusted_issuers {
        if !asked.insert(&entry.issuer) {
            continue;
        }
        let url = match &entry.keys {
            Keys::Inline(_) => continue,
            Keys::Uri(url) => Ok(url.clone()),
            Keys::Discovered => client_keys::discover(outbound, &entry.issuer, now).await,
        };
        let had = match url {
            Ok(url) => client_keys::can_be_had(outbound, &url, now).await,
            Err(why) => Err(why),
        };
        match had {
            Ok(()) => found.ok(ABOUT, format!("{}: its keys can be had", entry.issuer)),
            Err(why) => found.error(
                ABOUT,
                format!("{}: its keys cannot be had: {why}", entry.issuer),
                "trusted_issuers.issuer and jwks_uri, DNS, and outbound connections to port 443; or jwks_file",
            ),
        }
    }
}
