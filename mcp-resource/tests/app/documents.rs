//! A folder that changes, and files that are not what they seem.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::{World, eventually};

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        write(folder.path(), path, content);
    }
    folder
}

fn write(folder: &Path, path: &str, content: &[u8]) {
    let place = folder.join(path);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(place, content).unwrap();
}

async fn world(folder: &TempDir, more: &str) -> World {
    let path = folder.path().display().to_string();
    World::start_with(&format!(
        "documents.folder = {path:?}\ndocuments.poll_seconds = 0.05\n{more}"
    ))
    .await
}

async fn finds(world: &World, query: &str, titles: &[&str]) {
    eventually(&format!("{query} finds {titles:?}"), async || {
        world.titles(query).await == titles
    })
    .await;
}

async fn document(world: &World, id: &str) -> Value {
    world.fetch(id).await["structuredContent"].clone()
}

#[tokio::test]
async fn the_index_follows_the_folder() {
    let folder = folder(&[
        ("a/first.md", b"# First\nabout pelicans"),
        ("second.txt", b"about pelicans and herons"),
    ]);
    let world = world(&folder, "").await;
    finds(&world, "heron", &["second"]).await;
    write(folder.path(), "b/third.md", b"# Third\nabout flamingos");
    finds(&world, "flamingo", &["Third"]).await;
    write(folder.path(), "b/third.md", b"# Third, again\nabout storks");
    finds(&world, "stork", &["Third, again"]).await;
    finds(&world, "flamingo", &[]).await;
    fs::rename(folder.path().join("a"), folder.path().join("c")).unwrap();
    eventually("the new place is known", async || {
        document(&world, "c/first.md").await["title"] == "First"
    })
    .await;
    assert_eq!(world.fetch("a/first.md").await["isError"], true);
    fs::remove_file(folder.path().join("second.txt")).unwrap();
    finds(&world, "heron", &[]).await;
}

#[tokio::test]
async fn every_format_is_understood() {
    let folder = folder(&[
        (
            "page.html",
            b"<title>Page</title><p>ospreys &amp; eagles</p>",
        ),
        (
            "front.md",
            b"---\ntitle: Front\nurl: https://example.com/front\n---\nkestrels",
        ),
        ("bom.txt", b"\xef\xbb\xbfharriers"),
        (
            "birds.csv",
            b"id;title;text;colour\r\n7;Kite;\"red;\r\nforked\";red\r\n",
        ),
        (
            "birds.jsonl",
            b"{\"id\":1,\"title\":\"Hobby\",\"text\":\"dragonflies\",\"seen\":[2024,2025]}\n",
        ),
    ]);
    let world = world(
        &folder,
        "documents.base_url = \"https://birds.example.com/files\"",
    )
    .await;
    for (query, title, id, url) in [
        (
            "eagle",
            "Page",
            "page.html",
            "https://birds.example.com/files/page.html",
        ),
        ("kestrel", "Front", "front.md", "https://example.com/front"),
        (
            "harrier",
            "bom",
            "bom.txt",
            "https://birds.example.com/files/bom.txt",
        ),
        (
            "forked",
            "Kite",
            "birds.csv#7",
            "https://birds.example.com/files/birds.csv#7",
        ),
        (
            "dragonfly",
            "Hobby",
            "birds.jsonl#1",
            "https://birds.example.com/files/birds.jsonl#1",
        ),
    ] {
        finds(&world, query, &[title]).await;
        let document = document(&world, id).await;
        assert_eq!(
            (&document["title"], &document["url"]),
            (&json!(title), &json!(url))
        );
    }
    let kite = document(&world, "birds.csv#7").await;
    assert_eq!(
        kite["metadata"],
        json!({ "colour": "red", "path": "birds.csv" })
    );
    assert_eq!(kite["text"], "red;\r\nforked");
}

#[tokio::test]
async fn columns_can_be_named_for_some_files() {
    let folder = folder(&[
        (
            "orders/2026.csv",
            b"no,who,what,note\n17,Ada,six lemon,ring twice\n",
        ),
        ("other.csv", b"id,title,text\n1,Plain,lemon\n"),
    ]);
    let rules = "[[documents.rows]]\nfiles = \"orders/*.csv\"\nid = \"no\"\ntitle = \"who\"\ntext = [\"what\", \"note\"]";
    let world = world(&folder, rules).await;
    finds(&world, "\"ring twice\"", &["Ada"]).await;
    assert_eq!(
        document(&world, "orders/2026.csv#17").await["text"],
        "six lemon\n\nring twice"
    );
    assert_eq!(document(&world, "other.csv#1").await["title"], "Plain");
}

#[tokio::test]
async fn files_that_cannot_be_used_are_skipped_and_the_others_served() {
    let folder = folder(&[
        ("good.md", b"# Good\nwren"),
        ("binary.txt", b"wren\x00wren"),
        ("latin1.txt", b"wren caf\xe9"),
        ("large.txt", "wren ".repeat(1_000).as_bytes()),
        ("picture.png", b"wren"),
        ("rows.jsonl", b"{\"id\":1,\"text\":\"wren\",\"title\":\"Row\"}\nnonsense\n{\"id\":1,\"text\":\"wren\"}\n"),
        (".hidden.md", b"wren"),
    ]);
    #[cfg(unix)]
    {
        let made = std::process::Command::new("mkfifo")
            .arg(folder.path().join("pipe.md"))
            .status();
        assert!(made.unwrap().success());
    }
    let world = world(&folder, "documents.max_file_bytes = 2000").await;
    eventually("both are there", async || {
        world.titles("wren").await.len() == 2
    })
    .await;
    let mut titles = world.titles("wren").await;
    titles.sort();
    assert_eq!(titles, ["Good", "Row"]);
}

#[tokio::test]
async fn fetch_ids_and_links_do_not_leave_the_folder() {
    let outside = folder(&[("secret.md", b"# Secret\nnightingale")]);
    let folder = folder(&[("inside.md", b"# Inside\nthrush")]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink(outside.path(), folder.path().join("out")).unwrap();
        symlink(
            outside.path().join("secret.md"),
            folder.path().join("alias.md"),
        )
        .unwrap();
        symlink("/etc/passwd", folder.path().join("passwd.txt")).unwrap();
        symlink(".", folder.path().join("loop")).unwrap();
    }
    let world = world(&folder, "").await;
    finds(&world, "thrush", &["Inside"]).await;
    finds(&world, "nightingale", &[]).await;
    finds(&world, "root", &[]).await;
    for id in [
        "out/secret.md",
        "alias.md",
        "passwd.txt",
        "loop/inside.md",
        "../secret.md",
    ] {
        assert_eq!(world.fetch(id).await["isError"], true, "{id}");
    }
}

#[tokio::test]
async fn a_document_over_the_limit_is_cut_but_found_by_its_end() {
    let text = format!("# Long\n{}albatross", "gull ".repeat(40_000));
    let folder = folder(&[("long.md", text.as_bytes())]);
    let world = world(&folder, "documents.max_text_chars = 10000").await;
    finds(&world, "albatross", &["Long"]).await;
    let document = document(&world, "long.md").await;
    assert!(document["text"].as_str().unwrap().len() <= 10_000);
    assert_eq!(document["metadata"]["truncated"], true);
}

#[tokio::test]
async fn no_result_is_longer_than_150_000_characters() {
    let odd = "\"\\\n\t\u{1}é".repeat(60_000);
    let folder = folder(&[
        ("odd.txt", odd.as_bytes()),
        ("plain.txt", "gull ".repeat(60_000).as_bytes()),
    ]);
    let world = world(&folder, "documents.max_text_chars = 70000").await;
    finds(&world, "gull", &["plain"]).await;
    for id in ["odd.txt", "plain.txt"] {
        let result = world.fetch(id).await;
        let structured = result["structuredContent"].to_string().chars().count();
        let text = result["content"][0]["text"]
            .as_str()
            .unwrap()
            .chars()
            .count();
        assert!(structured + text < 150_000, "{id}: {structured} + {text}");
        assert_eq!(result["structuredContent"]["metadata"]["truncated"], true);
    }
}

#[tokio::test]
async fn a_folder_that_disappears_for_a_moment_empties_nothing() {
    let folder = folder(&[("docs/a.md", b"# Stays\npuffin")]);
    let docs = folder.path().join("docs");
    let path = docs.display().to_string();
    let world = World::start_with(&format!(
        "documents.folder = {path:?}\ndocuments.poll_seconds = 0.05"
    ))
    .await;
    finds(&world, "puffin", &["Stays"]).await;
    fs::rename(&docs, folder.path().join("away")).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    finds(&world, "puffin", &["Stays"]).await;
    fs::rename(folder.path().join("away"), &docs).unwrap();
    write(&docs, "b.md", b"# Comes\npuffin");
    eventually("both are found", async || {
        world.titles("puffin").await.len() == 2
    })
    .await;
}

#[tokio::test]
async fn a_result_of_any_file_is_short_and_can_be_fetched() {
    let front: Vec<String> = (0..100_000).map(|n| format!("name{n}: value")).collect();
    let long_name = format!(
        "{{\"id\":1,\"title\":\"Row\",\"text\":\"avocet\",\"{}\":1}}",
        "n".repeat(400_000)
    );
    let folder = folder(&[
        (
            "front.md",
            format!("---\n{}\n---\n# Front\navocet", front.join("\n")).as_bytes(),
        ),
        ("row.jsonl", long_name.as_bytes()),
    ]);
    let world = world(&folder, "").await;
    eventually("both are there", async || {
        world.titles("avocet").await.len() == 2
    })
    .await;
    for id in ["front.md", "row.jsonl#1"] {
        let result = world.fetch(id).await;
        assert_eq!(result["structuredContent"]["id"], id);
        assert!(result.to_string().len() < 20_000, "{id}");
    }
}

#[tokio::test]
async fn what_is_found_can_be_fetched_and_opened_however_long_its_path() {
    let name = |count: usize| ["n".repeat(240), "n".repeat(240), "n".repeat(count)].join("/");
    let (fits, too_long) = (format!("{}.md", name(15)), format!("{}.md", name(16)));
    assert_eq!((fits.len(), too_long.len()), (500, 501));
    let folder = folder(&[
        (&fits, b"# Fits\navocet"),
        (&too_long, b"# Too long\navocet"),
        ("other.md", b"# Other\navocet"),
    ]);
    let world = world(&folder, "").await;
    eventually("two are there", async || {
        world.titles("avocet").await.len() == 2
    })
    .await;
    assert_eq!(document(&world, &fits).await["title"], "Fits");
    assert_eq!(world.get(&format!("/documents/{fits}")).await.status, 200);
    assert_eq!(world.fetch(&too_long).await["isError"], true);
}

#[tokio::test]
async fn a_file_cannot_take_the_id_of_a_row_nor_a_row_that_of_a_file() {
    let folder = folder(&[
        ("a.csv", b"id,title,text\n7.md,Row,avocet\n"),
        ("a.csv#7.md", b"# File\navocet"),
        ("c#.md", b"# Sharp\nbittern"),
    ]);
    let world = world(&folder, "").await;
    finds(&world, "bittern", &["Sharp"]).await;
    finds(&world, "avocet", &["Row"]).await;
    assert_eq!(document(&world, "a.csv#7.md").await["title"], "Row");
    assert_eq!(document(&world, "c#.md").await["title"], "Sharp");
}

#[tokio::test]
async fn the_address_of_a_row_names_the_row_whatever_its_id() {
    let folder = folder(&[("a.csv", b"id,title,text\nx/../y,Row,avocet\n")]);
    let world = world(&folder, "").await;
    finds(&world, "avocet", &["Row"]).await;
    let url = document(&world, "a.csv#x/../y").await["url"].clone();
    let page = world.send(world.http.get(url.as_str().unwrap())).await;
    assert!(page.text.contains("a.csv#x/../y"), "{}", page.text);
}
