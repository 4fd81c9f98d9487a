//! `search(query)` → `{"results":[{"id","title","url"}]}`. The shape is fixed by the assistants that use it.

use serde_json::{Value, json};

use super::{Answer, Description};
use crate::index::Index;

pub(super) fn describe() -> Description {
    Description {
        title: "Search documents",
        purpose: "Searches the documents and returns the best matches, best first. Use plain words; put \"quotes\" around \
                      a phrase that must occur exactly as written. To read a result, pass its id to fetch.",
        input_schema: json!({
            "type": "object",
            "properties": {
                "query": { "type": "string", "description": "Words to look for, e.g. chocolate orders" }
            },
            "required": ["query"],
            "additionalProperties": false
        }),
        output_schema: json!({
            "type": "object",
            "properties": {
                "results": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "id": { "type": "string", "description": "Pass this to fetch" },
                            "title": { "type": "string" },
                            "url": { "type": "string", "description": "Where a person can open the document" }
                        },
                        "required": ["id", "title", "url"],
                        "additionalProperties": false
                    }
                }
            },
            "required": ["results"],
            "additionalProperties": false
        }),
        read_only: true,
        destructive: false,
        open_world: false,
    }
}

pub(super) fn call(index: &Index, query: &str, limit: usize) -> anyhow::Result<Answer> {
    let found = index.search(query, limit)?;
    let results: Vec<Value> = found
        .iter()
        .map(|document| json!({ "id": document.id, "title": document.title, "url": document.url }))
        .collect();
    Ok(Answer::Found(json!({ "results": results })))
}
