//! `resources`: the life of a resource, and what stands in the file.

use serde_json::Value;

use super::{Folder, deeds};

#[tokio::test]
async fn a_resource_is_added_replaced_listed_and_deleted() {
    let folder =
        Folder::new("[[resources]]\nid = \"https://file.example\"\nname = \"File\"\nscopes = []\n");
    let id = "https://docs.example/mcp";
    let add = |more: &str| {
        folder.run(&format!(
            "resources add {id} --scope 'docs.read=read your documents' --default docs.read{more}"
        ))
    };
    assert_eq!(add("").done(), format!("{id} is added\n"));
    let replaced =
        add(" --name Docs --alias https://docs.example --access-lifetime 5m --json").json();
    assert_eq!(
        (
            &replaced["name"],
            &replaced["access_lifetime"],
            &replaced["scopes"][0]["default"]
        ),
        (&"Docs".into(), &300.into(), &true.into())
    );
    assert_eq!(
        folder.run("resources list").done(),
        "RESOURCE                  NAME  FROM   SCOPES     DEFAULT\n\
         https://file.example      File  file\n\
         https://docs.example/mcp  Docs  store  docs.read  docs.read\n"
    );
    let page = folder.run("resources list --limit 1 --json").json();
    assert_eq!(page["next"], "https://file.example");
    let rest = folder
        .run("resources list --after https://file.example --json")
        .json();
    assert_eq!(
        (&rest["resources"][0]["id"], &rest["next"]),
        (&id.into(), &Value::Null)
    );

    assert_eq!(
        folder.run("resources add https://DOCS.example/").refused(),
        format!("`https://DOCS.example/` means the resource `{id}` already")
    );
    assert_eq!(
        folder.run("resources add /mcp").refused(),
        "resource /mcp is not an absolute URI (RFC 8707 2)"
    );
    assert_eq!(
        folder
            .run("resources add https://x.example --default x")
            .refused(),
        "--default: `x` is not among the scopes; add --scope 'x=…'"
    );
    assert_eq!(
        folder.run(&format!("resources delete {id}")).done(),
        format!("{id} is deleted\n")
    );
    assert_eq!(
        folder.run(&format!("resources delete {id}")).refused(),
        format!("there is no resource `{id}`")
    );
    assert_eq!(
        deeds(&folder).await,
        [
            format!("resource {id} put"),
            format!("resource {id} put"),
            format!("resource {id} deleted")
        ]
    );
}

#[test]
fn what_stands_in_the_file_is_changed_there() {
    let folder = Folder::new(
        "[[users]]\nusername = \"alice\"\npassword_file = \"pw\"\n\
         [[clients]]\nid = \"m\"\nredirect_uris = [\"https://c.example/cb\"]\ntoken_endpoint_auth_method = \"none\"\n\
         [[resources]]\nid = \"https://docs.example\"\nscopes = []\n",
    );
    folder.write("pw", "correct horse\n");
    folder.run("migrate").done();
    let file = "stands in the configuration file; change it there and restart the server";
    assert_eq!(
        folder.run("users delete alice --yes").refused(),
        format!("user `alice` {file}")
    );
    assert_eq!(
        folder
            .run_with("users add alice", "correct horse")
            .refused(),
        "there is a user `alice` already"
    );
    assert_eq!(
        folder.run("clients delete m").refused(),
        format!("client `m` {file}")
    );
    assert_eq!(
        folder.run("clients secret m").refused(),
        format!("client `m` {file}")
    );
    let resource = format!("resource `https://docs.example` {file}");
    assert_eq!(
        folder
            .run("resources delete https://docs.example")
            .refused(),
        resource
    );
    assert_eq!(
        folder.run("resources add https://docs.example").refused(),
        resource
    );
    assert!(
        folder
            .run("clients list")
            .done()
            .contains("\nm       m     static  none")
    );
}
