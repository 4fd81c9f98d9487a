//! The tools, and the one place where it is decided who may call which.
//!
//! A tool can be called only through [`Admitted`], and only [`Registry::admit`] makes one: no path leads around the scope
//! check. Nothing here knows how a call arrives.

mod fetch;
mod search;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::guard::{Caller, Scopes};
use crate::index::{Index, MAX_ID_CHARS};

const MAX_QUERY_CHARS: usize = 1_000;

/// A tool of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    Search,
    Fetch,
}

impl Tool {
    /// In the order in which they are listed.
    pub(crate) const ALL: [Self; 2] = [Self::Search, Self::Fetch];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Fetch => "fetch",
        }
    }

    pub(crate) fn describe(self) -> Description {
        match self {
            Self::Search => search::describe(),
            Self::Fetch => fetch::describe(),
        }
    }

    /// The only argument.
    fn argument(self) -> &'static str {
        match self {
            Self::Search => "query",
            Self::Fetch => "id",
        }
    }

    /// Longest value of the argument.
    fn max_chars(self) -> usize {
        match self {
            Self::Search => MAX_QUERY_CHARS,
            Self::Fetch => MAX_ID_CHARS,
        }
    }
}

/// What a client is told about a tool, as JSON Schema (draft 2020-12) without references.
pub(crate) struct Description {
    pub(crate) title: &'static str,
    pub(crate) purpose: &'static str,
    pub(crate) input_schema: Value,
    pub(crate) output_schema: Value,
    /// Whether it only reads.
    pub(crate) read_only: bool,
    /// Whether it can destroy something.
    pub(crate) destructive: bool,
    /// Whether it reaches beyond this server.
    pub(crate) open_world: bool,
}

/// What came of a call.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// Structured content.
    Found(Value),
    /// The call made no sense; the text says why and what to do.
    Mistaken(String),
}

/// All tools with the scopes they need.
pub(crate) struct Registry {
    index: Arc<Index>,
    max_results: usize,
    search: Scopes,
    fetch: Scopes,
}

/// The caller has what this tool needs.
pub(crate) struct Admitted {
    registry: Arc<Registry>,
    tool: Tool,
}

/// Why a call is not made.
#[derive(Debug, PartialEq)]
pub(crate) enum Refused {
    UnknownTool,
    /// All scopes that this tool needs.
    Scope(Scopes),
}

impl Registry {
    /// `required`: what every request needs. `search`, `fetch`: what each needs besides.
    pub(crate) fn new(
        index: Arc<Index>,
        max_results: usize,
        required: &Scopes,
        search: &Scopes,
        fetch: &Scopes,
    ) -> Self {
        let (search, fetch) = (required.union(search), required.union(fetch));
        Self {
            index,
            max_results,
            search,
            fetch,
        }
    }

    /// The scope check. A caller without a scope learns which tools exist (they are listed) but calls none.
    pub(crate) fn admit(
        self: &Arc<Self>,
        name: &str,
        caller: &Caller,
    ) -> Result<Admitted, Refused> {
        let tool = Tool::ALL
            .into_iter()
            .find(|tool| tool.name() == name)
            .ok_or(Refused::UnknownTool)?;
        let needed = self.scopes(tool);
        if caller.scopes().covers(needed) {
            Ok(Admitted {
                registry: Arc::clone(self),
                tool,
            })
        } else {
            Err(Refused::Scope(needed.clone()))
        }
    }

    /// All scopes that a tool needs.
    pub(crate) fn scopes(&self, tool: Tool) -> &Scopes {
        match tool {
            Tool::Search => &self.search,
            Tool::Fetch => &self.fetch,
        }
    }

    /// The security schemes of a tool, for clients that ask for a token by them.
    pub(crate) fn security_schemes(&self, tool: Tool) -> Value {
        let scopes: Vec<&str> = self.scopes(tool).iter().collect();
        json!([{ "type": "oauth2", "scopes": scopes }])
    }
}

impl Admitted {
    /// Reads the argument and calls the tool. Blocks while the index is read.
    ///
    /// # Errors
    /// Only when the index itself is broken.
    pub(crate) fn call(&self, arguments: &Map<String, Value>) -> anyhow::Result<Answer> {
        let argument = match read_argument(self.tool, arguments) {
            Ok(argument) => argument,
            Err(mistake) => return Ok(Answer::Mistaken(mistake)),
        };
        match self.tool {
            Tool::Search => search::call(&self.registry.index, argument, self.registry.max_results),
            Tool::Fetch => fetch::call(&self.registry.index, argument),
        }
    }
}

/// Exactly one argument, a text, neither empty nor endless.
fn read_argument(tool: Tool, arguments: &Map<String, Value>) -> Result<&str, String> {
    let (max_chars, tool, name) = (tool.max_chars(), tool.name(), tool.argument());
    if let Some(other) = arguments.keys().find(|key| *key != name) {
        return Err(format!(
            "{tool} takes exactly one argument, {name}; {:?} is not known",
            shorten(other)
        ));
    }
    match arguments.get(name) {
        None => Err(format!("{tool} needs the argument {name}, a string")),
        Some(Value::String(text)) if text.trim().is_empty() => Err(format!("{name} is empty")),
        Some(Value::String(text)) if text.chars().count() > max_chars => {
            Err(format!("{name} is longer than {max_chars} characters"))
        }
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(format!("{name} must be a string")),
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn exactly_one_text_argument_is_accepted() {
        for (given, accepted) in [
            (json!({"query": "cake"}), true),
            (json!({}), false),
            (json!({"query": ""}), false),
            (json!({"query": "  \n"}), false),
            (json!({"query": 7}), false),
            (json!({"query": null}), false),
            (json!({"query": ["cake"]}), false),
            (json!({"query": "cake", "limit": 5}), false),
            (json!({"id": "cake"}), false),
            (json!({"query": "x".repeat(1_001)}), false),
        ] {
            let read = read_argument(Tool::Search, &arguments(&given)).map(str::to_owned);
            assert_eq!(read.is_ok(), accepted, "{given}: {read:?}");
        }
    }

    #[test]
    fn schemas_are_strict_and_contain_no_reference() {
        for tool in Tool::ALL {
            let Description {
                input_schema,
                output_schema,
                ..
            } = tool.describe();
            assert_eq!(input_schema["additionalProperties"], false);
            assert_eq!(input_schema["required"], json!([tool.argument()]));
            assert_eq!(input_schema["properties"].as_object().unwrap().len(), 1);
            assert!(!output_schema.to_string().contains("$ref"));
        }
    }
}
