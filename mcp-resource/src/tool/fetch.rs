//! `fetch(id)` → `{"id","title","text","url","metadata"?}`. The shape is fixed by the assistants that use it.

use serde_json::json;

use super::{Answer, Description};
use crate::index::Index;

pub(super) fn describe() -> Description {
    Description {
        title: "Fetch a document",
        purpose: "Returns the text of one document. The id comes from the results of search. A very long text is cut; \
                      then metadata.truncated is true.",
        input_schema: json!({
            "type": "object",
            "properties": {
                "id": { "type": "string", "description": "The id of a search result" }
            },
            "required": ["id"],
            "additionalProperties": false
        }),
        output_schema: json!({
            "type": "object",
            "properties": {
                "id": { "type": "string" },
                "title": { "type": "string" },
                "text": { "type": "string" },
                "url": { "type": "string", "description": "Where a person can open the document" },
                "metadata": { "type": "object", "description": "What else is known about the document" }
            },
            "required": ["id", "title", "text", "url"],
            "additionalProperties": false
        }),
        read_only: true,
        destructive: false,
        open_world: false,
    }
}

pub(super) fn call(index: &Index, id: &str) -> anyhow::Result<Answer> {
    Ok(match index.document(id)? {
        Some(document) => Answer::Found(serde_json::to_value(document)?),
        None => Answer::Mistaken(
            "there is no document with this id; ids come from the results of search".to_owned(),
        ),
    })
}
