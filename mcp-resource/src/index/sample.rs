//! The documents of a cupcake shop, inside of the program: what is searched when no folder is configured.

/// Path and content, as if read from a folder.
pub(super) const FILES: &[(&str, &str)] = &[
    ("orders.jsonl", include_str!("../../sample/orders.jsonl")),
    ("allergens.md", include_str!("../../sample/allergens.md")),
    ("careers.md", include_str!("../../sample/careers.md")),
    ("catering.md", include_str!("../../sample/catering.md")),
    ("delivery.md", include_str!("../../sample/delivery.md")),
    ("gift-cards.md", include_str!("../../sample/gift-cards.md")),
    (
        "opening-hours.md",
        include_str!("../../sample/opening-hours.md"),
    ),
    ("returns.md", include_str!("../../sample/returns.md")),
    ("storage.md", include_str!("../../sample/storage.md")),
    (
        "recipes/chocolate-fudge.md",
        include_str!("../../sample/recipes/chocolate-fudge.md"),
    ),
    (
        "recipes/gluten-free-vanilla.md",
        include_str!("../../sample/recipes/gluten-free-vanilla.md"),
    ),
    (
        "recipes/lemon-meringue.md",
        include_str!("../../sample/recipes/lemon-meringue.md"),
    ),
    (
        "recipes/red-velvet.md",
        include_str!("../../sample/recipes/red-velvet.md"),
    ),
    (
        "recipes/salted-caramel.md",
        include_str!("../../sample/recipes/salted-caramel.md"),
    ),
];
