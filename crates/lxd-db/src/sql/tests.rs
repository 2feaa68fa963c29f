//! Statements are cut where SQLite would cut them.

use super::*;

#[test]
fn statements_are_cut_at_semicolons_that_mean_it() {
    for (text, expected) in [
        ("select 1", vec!["select 1"]),
        (
            " select 1 ; ; -- nothing\n select 2;",
            vec!["select 1", "-- nothing\n select 2"],
        ),
        (
            "insert into t values ('a;b', \"c;d\", [e;f])",
            vec!["insert into t values ('a;b', \"c;d\", [e;f])"],
        ),
        (
            "select 'it''s; fine'; select 2",
            vec!["select 'it''s; fine'", "select 2"],
        ),
        ("/* a; b */ select 1", vec!["/* a; b */ select 1"]),
        (
            "create trigger x before insert on t begin select 1; delete from t; end; select 2",
            vec![
                "create trigger x before insert on t begin select 1; delete from t; end",
                "select 2",
            ],
        ),
        ("", vec![]),
        (" -- only a comment", vec![]),
        ("select 'open; ended", vec!["select 'open; ended"]),
        (
            "select 'grüße;'; update ü set a=1",
            vec!["select 'grüße;'", "update ü set a=1"],
        ),
    ] {
        assert_eq!(split(text), expected, "{text}");
    }
}

#[test]
fn queries_are_told_from_changes() {
    for (statement, rows) in [
        ("SELECT 1", true),
        ("  -- why\n select 1", true),
        ("WITH x AS (SELECT 1) SELECT * FROM x", true),
        ("with x as (select 1) insert into t select * from x", false),
        ("PRAGMA table_info(nodes)", true),
        ("PRAGMA foreign_keys=ON", false),
        ("DELETE FROM config", false),
        ("selection", false),
    ] {
        assert_eq!(gives_rows(statement), rows, "{statement}");
    }
}

#[test]
fn only_long_names_of_columns_are_refused() {
    let long = "x".repeat(4000);
    for (query, fine) in [
        ("SELECT 1".to_owned(), true),
        (format!("SELECT a FROM t WHERE b = '{long}'"), true),
        (format!("SELECT '{long}'"), false),
        (format!("SELECT '{long}' FROM t"), false),
        (format!("SELECT * FROM (SELECT '{long}')"), false),
    ] {
        assert_eq!(check_names(&query).is_ok(), fine, "{query}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_can_be_cut(text in "[ a-z;'\"\\[\\]`/*\n-]{0,60}|.{0,40}") {
        let length: usize = split(&text).iter().map(String::len).sum();
        proptest::prop_assert!(length <= text.len());
    }
}
