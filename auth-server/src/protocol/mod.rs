//! What is allowed: the RFCs as types and rules. Pure and synchronous; `now` and fresh bytes are arguments.
//!
//! | source | file |
//! |---|---|
//! | RFC 6749 §3 parameters, §5.2 errors | [`params`], [`refusal`] |
//! | RFC 6749 §3.1.2, RFC 8252 §7.3 redirects, OAuth 2.0 Form Post, JARM | [`redirect`] |
//! | RFC 6749 §3.3 scope | [`scope`] |
//! | RFC 7636 PKCE | [`pkce`] |
//! | RFC 8707 resource indicators | [`resource`] |
//! | RFC 7591 / 7592, OIDC Registration | [`client`], [`register`] |
//! | draft-ietf-oauth-client-id-metadata-document | [`document`] |
//! | RFC 6749 §4.1, OIDC Core §3.1.2, RFC 9207 | [`authorize`] |
//! | RFC 9101 request objects, RFC 9126 pushed requests | [`request_object`] |
//! | RFC 6749 §4.1.3, §4.4, §6 | [`token`], [`grant`], [`oxide`] |
//! | RFC 7519, 7515, 7523, 9068 | [`jwt`] |
//! | RFC 9449 DPoP, RFC 7800 `cnf` | [`dpop`], [`confirmation`] |
//! | RFC 7523 §2.1 JWTs as grants, ID-JAG | [`trusted`] |
//! | RFC 8693 token exchange | [`exchange`] |
//! | RFC 8628 device authorization | [`device`], [`polled`] |
//! | CIBA Core backchannel authentication | [`ciba`], [`polled`] |
//! | RFC 5280 certificates | [`certificate`] |
//! | RFC 8414, OIDC Discovery | [`metadata`] |
//! | OIDC Core §2, §5.5.1.1 `acr` | [`acr`] |
//! | RFC 9396 rich authorization requests | [`details`] |
//! | OIDC Core §8 subjects | [`subject`] |
//! | OIDC Core §5.4 claims by scope, §5.5 the parameter `claims` | [`claims`], [`claims_request`] |
//! | RP-Initiated, Front-Channel and Back-Channel Logout | [`logout`] |
//! | OpenID Connect Session Management | [`session_state`] |
//! | what is switched on | [`feature`] |

pub mod acr;
pub mod authorize;
pub mod certificate;
pub mod ciba;
pub mod claims;
pub mod claims_request;
pub mod client;
pub mod confirmation;
pub mod details;
pub mod device;
pub mod document;
pub mod dpop;
pub mod event;
pub mod exchange;
pub mod feature;
pub mod grant;
pub mod issuer;
pub mod jwt;
pub mod known_device;
pub mod logout;
pub mod metadata;
pub mod network;
pub mod oxide;
pub mod params;
pub mod pkce;
pub mod polled;
pub mod rate;
pub mod redirect;
pub mod refusal;
pub mod register;
pub mod request_object;
pub mod resource;
pub mod scope;
pub mod secret;
pub mod session_state;
pub mod subject;
pub mod text;
pub mod token;
pub mod trusted;
