//! What an operator switches on or off. Metadata and endpoints follow: a feature that is off is neither advertised nor
//! answered (rule A-09).

use serde::{Deserialize, Serialize};

use super::client::GrantType;

/// The switches, named as in the section `[features]` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one switch of the file"
)]
pub struct Features {
    /// The parameter `claims` (OIDC Core §5.5).
    pub claims_parameter: bool,
    /// The `end_session_endpoint` (RP-Initiated Logout 1.0).
    pub rp_initiated_logout: bool,
    /// Logout tokens for clients of an ended session (Back-Channel Logout 1.0).
    pub backchannel_logout: bool,
    /// Frames of clients on the signed-out page (Front-Channel Logout 1.0).
    pub frontchannel_logout: bool,
    /// The `check_session_iframe` and `session_state` (Session Management 1.0).
    pub session_management: bool,
    /// Device authorization (RFC 8628).
    pub device: bool,
    /// Backchannel authentication, poll and ping (CIBA Core 1.0).
    pub ciba: bool,
    /// Identity assertions between authorization servers (ID-JAG).
    pub id_jag: bool,
    /// JWTs of trusted issuers as grants (RFC 7523).
    pub jwt_bearer: bool,
    /// Token exchange (RFC 8693).
    pub token_exchange: bool,
    /// Tokens bound to a key of the client (RFC 9449).
    pub dpop: bool,
    /// Proofs need a nonce of ours (RFC 9449 §8).
    pub dpop_nonces: bool,
    /// Clients that prove themselves by HMAC with their secret (OIDC Core §9).
    pub client_secret_jwt: bool,
    /// Answers of introspection as JWTs (RFC 9701).
    pub introspection_jwt: bool,
    /// Clients and tokens by certificates of clients (RFC 8705).
    pub mtls: bool,
    /// Encrypted tokens, answers and requests (RFC 7516).
    pub encryption: bool,
    /// Subjects that clients of different sectors cannot compare (OIDC Core §8).
    pub pairwise_subjects: bool,
    /// Pushed authorization requests (RFC 9126).
    pub pushed_requests: bool,
    /// Signed request objects in the parameter `request` (RFC 9101, OIDC Core §6.1).
    pub request_objects: bool,
    /// Request objects behind a URL of the client, in the parameter `request_uri` (OIDC Core §6.2).
    pub request_uris: bool,
    /// Signed authorization answers (JARM).
    pub jarm: bool,
    /// An ID token beside the code, `response_type=code id_token` (OIDC Core §3.3). Off, since OAuth 2.1 and RFC 9700
    /// §2.1.2 keep tokens out of redirects: pages, browser histories and extensions read them there.
    pub hybrid: bool,
}

impl Default for Features {
    fn default() -> Features {
        Features {
            claims_parameter: true,
            rp_initiated_logout: true,
            backchannel_logout: true,
            frontchannel_logout: true,
            session_management: false,
            device: false,
            ciba: false,
            id_jag: false,
            jwt_bearer: false,
            token_exchange: false,
            dpop: true,
            dpop_nonces: false,
            client_secret_jwt: false,
            introspection_jwt: false,
            mtls: false,
            encryption: false,
            pairwise_subjects: true,
            pushed_requests: true,
            request_objects: true,
            request_uris: false,
            jarm: true,
            hybrid: false,
        }
    }
}

impl Features {
    /// True when the grant is answered.
    #[must_use]
    pub fn offers(self, grant: GrantType) -> bool {
        match grant {
            GrantType::AuthorizationCode
            | GrantType::RefreshToken
            | GrantType::ClientCredentials => true,
            GrantType::DeviceCode => self.device,
            GrantType::Backchannel => self.ciba,
            GrantType::TokenExchange => self.token_exchange,
            GrantType::JwtBearer => self.jwt_bearer,
        }
    }
}
