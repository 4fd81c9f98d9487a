//! The scope check, before the MCP layer (B-07): an assistant asks its user for more only when it sees a 403 with the
//! scopes; inside a 200 nobody would notice.

use std::sync::Arc;

use serde_json::Value;

use crate::guard::{Caller, Denied, Guard};
use crate::tool::{Refused, Registry};

/// Refuses the call of a tool for which the caller lacks a scope. Any other message passes; a tool that does not exist is
/// for the MCP layer to refuse.
pub(super) fn decide(
    registry: &Arc<Registry>,
    guard: &Guard,
    caller: &Caller,
    message: &Value,
) -> Result<(), Denied> {
    let Some(tool) = called_tool(message) else {
        return Ok(());
    };
    match registry.admit(tool, caller) {
        Err(Refused::Scope(needed)) => guard.require(caller, needed),
        Ok(_) | Err(Refused::UnknownTool) => Ok(()),
    }
}

fn called_tool(message: &Value) -> Option<&str> {
    if message.get("method")?.as_str()? != "tools/call" {
        return None;
    }
    message.get("params")?.get("name")?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_call_of_a_tool_names_one() {
        for (message, tool) in [
            (
                json!({"method": "tools/call", "params": {"name": "search"}}),
                Some("search"),
            ),
            (
                json!({"method": "tools/list", "params": {"name": "search"}}),
                None,
            ),
            (json!({"method": "tools/call", "params": {"name": 7}}), None),
            (json!({"method": "tools/call"}), None),
            (json!(["tools/call"]), None),
        ] {
            assert_eq!(called_tool(&message), tool);
        }
    }
}
