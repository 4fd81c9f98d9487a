//! The one decision that follows an accepted request: what has to happen before a code may be issued.

use super::{Prompt, Request};
use crate::protocol::refusal::Code;
use crate::protocol::scope::Scope;

/// A signed-in browser, as the decision needs it.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Unix seconds.
    pub auth_time: i64,
    /// How (RFC 8176).
    pub amr: Vec<String>,
    /// True when the sign-in happened for this very request.
    pub for_this_request: bool,
}

/// Whether the signed-in user is the one whom the client expects (`id_token_hint`, or `sub` in the parameter `claims`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Nobody in particular is expected.
    None,
    /// This one.
    Same,
    /// Somebody else.
    Other,
    /// The hint is no ID token of ours for this client: nobody can be told to be the one.
    Unknown,
}

/// What has to happen before a code may be issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Show the sign-in page; `again` when the user has a session that is not enough.
    SignIn {
        /// The user is known but must prove it once more.
        again: bool,
    },
    /// Show the consent page.
    Consent {
        /// What is asked for now.
        missing: Scope,
        /// What the user allowed earlier.
        earlier: Scope,
    },
    /// Everything is there.
    Issue,
    /// A page would be needed but `prompt=none` forbids it, or no page would help.
    Refuse(Code),
}

/// The reasons to prompt, in order. `consented` is the scope that this user allowed this client for these
/// resources and this redirect.
#[must_use]
pub fn next_step(
    request: &Request,
    session: Option<&SignedIn>,
    hint: Hint,
    consented: Option<&Scope>,
    now: i64,
) -> Step {
    let silent = request.prompts.contains(&Prompt::None);
    let Some(session) = session else {
        return if silent {
            Step::Refuse(Code::LoginRequired)
        } else {
            Step::SignIn { again: false }
        };
    };
    let asked_again = request.prompts.contains(&Prompt::Login)
        || request.prompts.contains(&Prompt::SelectAccount);
    let too_old = request
        .max_age
        .is_some_and(|age| now - session.auth_time > age);
    let another = hint == Hint::Other;
    let unknown = hint == Hint::Unknown;
    if !session.for_this_request && (asked_again || too_old || unknown) || another {
        return if silent {
            Step::Refuse(Code::LoginRequired)
        } else {
            Step::SignIn { again: !another }
        };
    }
    if !request.acr.allows(&session.amr) {
        // A new sign-in may reach the level; one that was made for this request did not.
        return if silent || session.for_this_request || request.acr.levels.is_empty() {
            Step::Refuse(Code::UnmetAuthenticationRequirements)
        } else {
            Step::SignIn { again: true }
        };
    }
    let earlier = consented.cloned().unwrap_or_default();
    let wanted = request.wanted();
    let missing = wanted.minus(&earlier);
    // A program on the user's device cannot prove that it is the client it names (RFC 8252 §8.6): always ask.
    // Details are one thing, asked for once: no earlier consent speaks for them.
    let ask = request.prompts.contains(&Prompt::Consent)
        || request.redirect.is_native()
        || !request.details.is_empty();
    let unknown = !missing.is_empty() || consented.is_none();
    if ask || unknown && !request.first_party {
        if silent {
            return Step::Refuse(Code::ConsentRequired);
        }
        let missing = if missing.is_empty() { wanted } else { missing };
        return Step::Consent {
            earlier: earlier.minus(&missing),
            missing,
        };
    }
    Step::Issue
}

#[cfg(test)]
mod tests {
    use super::super::tests::{CHALLENGE, client, request};
    use super::*;
    use crate::protocol::redirect::{Redirect, ResponseMode};

    #[test]
    fn the_reasons_to_prompt() {
        let session = |for_this_request| SignedIn {
            auth_time: 100,
            amr: vec!["pwd".into()],
            for_this_request,
        };
        let read = Scope::parse("docs.read");
        let step = |query: &str,
                    session: Option<SignedIn>,
                    hint: Option<Hint>,
                    consented: Option<&Scope>| {
            next_step(
                &request(&format!("{CHALLENGE}&{query}")).unwrap(),
                session.as_ref(),
                hint.unwrap_or(Hint::None),
                consented,
                200,
            )
        };
        let consent = |missing: &str, earlier: &str| Step::Consent {
            missing: Scope::parse(missing),
            earlier: Scope::parse(earlier),
        };
        let old = || Some(session(false));
        let new = || Some(session(true));
        assert_eq!(step("", None, None, None), Step::SignIn { again: false });
        assert_eq!(step("", old(), None, None), consent("docs.read", ""));
        assert_eq!(step("", old(), None, Some(&read)), Step::Issue);
        assert_eq!(
            step("scope=docs.read+docs.write", old(), None, Some(&read)),
            consent("docs.write", "docs.read")
        );
        assert_eq!(
            step("prompt=login", old(), None, Some(&read)),
            Step::SignIn { again: true }
        );
        assert_eq!(step("prompt=login", new(), None, Some(&read)), Step::Issue);
        assert_eq!(
            step("prompt=select_account", old(), None, Some(&read)),
            Step::SignIn { again: true }
        );
        assert_eq!(
            step("prompt=consent", old(), None, Some(&read)),
            consent("docs.read", "")
        );
        assert_eq!(
            step("max_age=99", old(), None, Some(&read)),
            Step::SignIn { again: true }
        );
        assert_eq!(step("max_age=100", old(), None, Some(&read)), Step::Issue);
        assert_eq!(step("max_age=0", new(), None, Some(&read)), Step::Issue);
        assert_eq!(
            step("", old(), Some(Hint::Other), Some(&read)),
            Step::SignIn { again: false }
        );
        assert_eq!(step("", old(), Some(Hint::Same), Some(&read)), Step::Issue);
        assert_eq!(
            step("prompt=none", None, None, None),
            Step::Refuse(Code::LoginRequired)
        );
        assert_eq!(
            step("prompt=none", old(), Some(Hint::Other), Some(&read)),
            Step::Refuse(Code::LoginRequired)
        );
        assert_eq!(
            step("prompt=none", old(), None, None),
            Step::Refuse(Code::ConsentRequired)
        );
        assert_eq!(step("prompt=none", old(), None, Some(&read)), Step::Issue);
        let essential = "claims={\"id_token\":{\"acr\":{\"essential\":true,\"value\":\"9\"}}}";
        assert_eq!(
            step(essential, old(), None, Some(&read)),
            Step::Refuse(Code::UnmetAuthenticationRequirements)
        );
        let mut native = request(CHALLENGE).unwrap();
        native.redirect = Redirect::match_registered(
            &client(&["http://127.0.0.1/cb"]).redirects,
            None,
            ResponseMode::default(),
            None,
        )
        .unwrap();
        assert_eq!(
            next_step(&native, old().as_ref(), Hint::None, Some(&read), 200),
            consent("docs.read", "")
        );
    }
}
