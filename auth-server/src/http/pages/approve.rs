//! The page on which a user answers what an app asked for elsewhere (CIBA).

use super::{App, Detail, Hidden, Layout, Page, Resource, Scope, Standing, Visitor};

/// [`Hidden::approve`]: to see what waits.
pub(crate) const APPROVE: &str = "1";
/// [`Hidden::approve`]: to say yes to something that needs a new sign-in.
pub(crate) const APPROVE_AGAIN: &str = "again";

/// Everything that waits for the user.
#[derive(Debug, Default, Page)]
#[template(path = "approve.html")]
pub(crate) struct Approve {
    pub layout: Layout,
    pub hidden: Hidden,
    pub user: Visitor,
    pub requests: Vec<Ask>,
    /// The page looks again by itself.
    pub looks: bool,
}

/// One request.
#[derive(Debug, Default)]
pub(crate) struct Ask {
    /// `-1`, `-2`: keeps the ids of its links apart.
    pub number: String,
    /// With the reference of the request, and what the page showed of it.
    pub hidden: Hidden,
    pub app: App,
    /// What the other device shows too.
    pub message: Option<String>,
    /// As in [`Consent`](super::Consent).
    pub wants: Option<String>,
    pub resource: Option<Resource>,
    pub scopes: Vec<Scope>,
    pub details: Vec<Detail>,
    pub stays_connected: bool,
    /// The user has to sign in again before a yes.
    pub again: bool,
    /// How long it can still be answered: `4 minutes`.
    pub waits: String,
}

/// Says what became of it.
#[derive(Debug, Default, Page)]
#[template(path = "approve_done.html")]
pub(crate) struct ApproveDone {
    pub layout: Layout,
    pub allowed: bool,
}
