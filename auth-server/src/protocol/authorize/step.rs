//! The one decision that follows an accepted request: what has to happen before a code may be issued.

use super::{Prompt, Request};
use crate::protocol::refusal::Code;
use crate::protocol::scope::Scope;

/// A signed-in browser, as the decision needs it.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Who.
    pub subject: String,
    /// Unix seconds.
    pub auth_time: i64,
    /// True when the sign-in happened for this very request.
    pub for_this_request: bool,
}

/// Whom the client expects (`id_token_hint`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Nobody in particular.
    None,
    /// This subject.
    Subject(String),
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
    /// A page would be needed but `prompt=none` forbids it.
    Refuse(Code),
}

/// The reasons to prompt, in order. `consented` is the scope that this user allowed this client for these
/// resources and this redirect.
#[must_use]
pub fn next_step(
    request: &Request,
    session: Option<&SignedIn>,
    hint: &Hint,
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
    let another = matches!(hint, Hint::Subject(subject) if *subject != session.subject);
    let unknown = *hint == Hint::Unknown;
    if !session.for_this_request && (asked_again || too_old || unknown) || another {
        return if silent {
            Step::Refuse(Code::LoginRequired)
        } else {
            Step::SignIn { again: !another }
        };
    }
    let earlier = consented.cloned().unwrap_or_default();
    let wanted = request.wanted();
    let missing = wanted.minus(&earlier);
    // A program on the user's device cannot prove that it is the client it names (RFC 8252 §8.6): always ask.
    let ask = request.prompts.contains(&Prompt::Consent) || request.redirect.is_native();
    if !missing.is_empty() || consented.is_none() || ask {
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
            subject: "u".into(),
            auth_time: 100,
            for_this_request,
        };
        let read = Scope::parse("docs.read");
        let step = |query: &str,
                    session: Option<SignedIn>,
                    hint: Option<&str>,
                    consented: Option<&Scope>| {
            next_step(
                &request(&format!("{CHALLENGE}&{query}")).unwrap(),
                session.as_ref(),
                &hint.map_or(Hint::None, |subject| {
                    if subject == "?" {
                        Hint::Unknown
                    } else {
                        Hint::Subject(subject.into())
                    }
                }),
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
            step("", old(), Some("other"), Some(&read)),
            Step::SignIn { again: false }
        );
        assert_eq!(step("", old(), Some("u"), Some(&read)), Step::Issue);
        assert_eq!(
            step("prompt=none", None, None, None),
            Step::Refuse(Code::LoginRequired)
        );
        assert_eq!(
            step("prompt=none", old(), Some("other"), Some(&read)),
            Step::Refuse(Code::LoginRequired)
        );
        assert_eq!(
            step("prompt=none", old(), None, None),
            Step::Refuse(Code::ConsentRequired)
        );
        assert_eq!(step("prompt=none", old(), None, Some(&read)), Step::Issue);
        let mut native = request(CHALLENGE).unwrap();
        native.redirect = Redirect::match_registered(
            &client(&["http://127.0.0.1/cb"]).redirects,
            None,
            ResponseMode::Query,
            None,
        )
        .unwrap();
        assert_eq!(
            next_step(&native, old().as_ref(), &Hint::None, Some(&read), 200),
            consent("docs.read", "")
        );
    }
}
