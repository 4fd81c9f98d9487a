//! The grants.

/// The grants that this server has; others in a client's metadata are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GrantType {
    /// RFC 6749 §4.1
    AuthorizationCode,
    /// RFC 6749 §6
    RefreshToken,
    /// RFC 6749 §4.4
    ClientCredentials,
    /// RFC 8628 §3.4
    DeviceCode,
    /// CIBA Core 1.0 §10.1
    Backchannel,
    /// RFC 8693
    TokenExchange,
    /// RFC 7523 §2.1
    JwtBearer,
}

impl GrantType {
    /// Every grant, in the order of the metadata document.
    pub const ALL: [GrantType; 7] = [
        GrantType::AuthorizationCode,
        GrantType::RefreshToken,
        GrantType::ClientCredentials,
        GrantType::DeviceCode,
        GrantType::Backchannel,
        GrantType::TokenExchange,
        GrantType::JwtBearer,
    ];

    /// The value of `grant_type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            GrantType::AuthorizationCode => "authorization_code",
            GrantType::RefreshToken => "refresh_token",
            GrantType::ClientCredentials => "client_credentials",
            GrantType::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
            GrantType::Backchannel => "urn:openid:params:grant-type:ciba",
            GrantType::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
            GrantType::JwtBearer => "urn:ietf:params:oauth:grant-type:jwt-bearer",
        }
    }

    /// True when a client may use it that is the `operators`, or proves who it is.
    pub(super) fn is_for(self, operators: bool, proves: bool) -> bool {
        match self {
            GrantType::AuthorizationCode | GrantType::RefreshToken | GrantType::DeviceCode => true,
            GrantType::Backchannel => proves,
            GrantType::ClientCredentials | GrantType::TokenExchange => operators && proves,
            // A workload of the operator's has no secret; anybody else who brings an assertion proves who it is.
            GrantType::JwtBearer => operators || proves,
        }
    }

    /// True when what it gives reaches a client only by way of its redirect URI, or after something that did.
    pub(super) fn needs_redirect(self) -> bool {
        matches!(self, GrantType::AuthorizationCode | GrantType::RefreshToken)
    }

    /// True when tokens may come of a remembered consent: then a client that declares it later may do more with it. The
    /// others ask the user each time or have a policy of their own.
    pub(super) fn uses_remembered_consent(self) -> bool {
        matches!(
            self,
            GrantType::AuthorizationCode | GrantType::RefreshToken | GrantType::ClientCredentials
        )
    }

    /// Reads a `grant_type`.
    #[must_use]
    pub fn parse(text: &str) -> Option<GrantType> {
        GrantType::ALL
            .into_iter()
            .find(|grant| grant.as_str() == text)
    }
}
