//! The text of batches, and their effect in a namespace of the test's own.

use super::*;
use crate::command::{Recorder, System};
use crate::netlink;

const FORWARD: Hook = Hook {
    kind: "filter",
    hook: "forward",
    priority: 0,
};

fn batch() -> Batch {
    let mut batch = Batch::new(Family::Inet, "lxt");
    batch.replace_chain("fwd.a", FORWARD, &["ip version 4 iifname \"a\" accept".into()]);
    batch
}

#[tokio::test]
async fn a_batch_is_one_run_with_this_text() {
    let recorder = Recorder::new();
    let mut batch = batch();
    batch.delete_chain("in.a");
    batch.apply(&recorder).await.unwrap();
    let seen = recorder.seen();
    assert_eq!((seen.len(), seen[0].line.as_str()), (1, "nft -f -"));
    assert_eq!(
        seen[0].input,
        "add table inet lxt\n\
         add chain inet lxt fwd.a { type filter hook forward priority 0; policy accept; }\n\
         flush chain inet lxt fwd.a\n\
         add rule inet lxt fwd.a ip version 4 iifname \"a\" accept\n\
         add chain inet lxt in.a\nflush chain inet lxt in.a\ndelete chain inet lxt in.a\n"
    );
    Batch::new(Family::Inet, "lxt").apply(&recorder).await.unwrap();
    assert_eq!(recorder.seen().len(), 1, "nothing to do, nothing run");
}

#[test]
fn batches_are_idempotent_and_atomic() {
    netlink::in_new_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            assert!(chains(&System, Family::Inet, "lxt").await.unwrap().is_empty());
            for _ in 0..2 {
                batch().apply(&System).await.unwrap();
            }
            let mut bad = Batch::new(Family::Inet, "lxt");
            bad.delete_chain("fwd.a")
                .replace_chain("x", FORWARD, &["no such rule".into()]);
            assert!(
                bad.apply(&System)
                    .await
                    .unwrap_err()
                    .stderr()
                    .contains("syntax error")
            );
            assert_eq!(chains(&System, Family::Inet, "lxt").await.unwrap(), ["fwd.a"]);
            let rules = Command::new("nft")
                .args(["list", "chain", "inet", "lxt", "fwd.a"])
                .output()
                .await
                .unwrap();
            assert_eq!(rules.text().matches("accept\n").count(), 1, "{}", rules.text());
            for _ in 0..2 {
                let mut gone = Batch::new(Family::Inet, "lxt");
                gone.delete_chain("fwd.a").apply(&System).await.unwrap();
            }
            assert!(chains(&System, Family::Inet, "lxt").await.unwrap().is_empty());
        });
    })
    .unwrap();
}
