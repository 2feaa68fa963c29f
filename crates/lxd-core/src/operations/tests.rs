//! Operations as clients see them, and works with steps under faults.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;
use crate::ctx::Caller;
use crate::events::{EventType, Wanted};
use crate::testing::{TestApp, root};

fn ctx() -> Ctx {
    root()
}

#[tokio::test]
async fn a_task_is_listed_by_its_state_and_waited_for() {
    let app = TestApp::start().await;
    let (go, gate) = tokio::sync::oneshot::channel::<()>();
    let options = Options::task(Kind::InstanceStart).resource("instances", "c1");
    let operation = app
        .operations
        .spawn(&ctx(), options, |operation| async move {
            gate.await.unwrap();
            operation.set_metadata("key", "value");
            Ok(())
        })
        .unwrap();
    let groups = app.operations.list(&ctx(), false).unwrap();
    assert_eq!(groups.keys().collect::<Vec<_>>(), ["running"]);
    assert!(
        app.operations
            .list(&ctx().in_project("other"), false)
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        app.operations
            .list(&ctx().in_project("other"), true)
            .unwrap()
            .len(),
        1
    );
    let early = app
        .operations
        .wait(&ctx(), operation.id(), None, Some(Duration::ZERO))
        .await
        .unwrap();
    assert_eq!((early.status.as_str(), early.status_code), ("Running", 103));

    go.send(()).unwrap();
    let done = app
        .operations
        .wait(&ctx(), operation.id(), None, None)
        .await
        .unwrap();
    assert_eq!(
        (done.status.as_str(), done.status_code, done.err.as_str()),
        ("Success", 200, "")
    );
    assert_eq!(done.metadata, json!({"key": "value"}));
    assert_eq!(done.resources["instances"], ["/1.0/instances/c1"]);
    assert_eq!(done.resources["containers"], ["/1.0/containers/c1"]);
    assert_eq!(
        (done.description.as_str(), done.location.as_str()),
        ("Starting instance", "none")
    );
}

#[tokio::test]
async fn an_operation_is_forgotten_after_its_end() {
    let operations = Operations::new(Hub::new(), Arc::new(MemoryJournal::default()));
    let quick = Operations::new(Hub::new(), Arc::new(MemoryJournal::default()));
    let mut quick = Arc::into_inner(quick).unwrap();
    quick.linger = Duration::from_millis(1);
    let quick = Arc::new(quick);
    let options = || Options::task(Kind::ImageDelete);
    let kept = operations.spawn(&ctx(), options(), |_| async { Ok(()) }).unwrap();
    let forgotten = quick.spawn(&ctx(), options(), |_| async { Ok(()) }).unwrap();
    kept.wait(None).await;
    while quick.find(forgotten.id()).is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(operations.find(kept.id()).is_some());
    let error = quick.get(&ctx(), forgotten.id()).await.unwrap_err();
    assert_eq!(
        (error.text().as_str(), error.kind()),
        ("Operation not found", lxd_model::ErrorKind::NotFound)
    );
}

#[tokio::test]
async fn events_tell_of_each_state() {
    let app = TestApp::start().await;
    let mut listener = app
        .events
        .subscribe(Wanted::new(&[EventType::Operation], Some("default")));
    let failing = async { Err(Error::conflict("no").because(std::io::Error::other("disk"))) };
    let operation = app
        .operations
        .spawn(&ctx(), Options::task(Kind::InstanceStop), |_| failing)
        .unwrap();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let event: serde_json::Value = serde_json::from_slice(&listener.recv().await.unwrap()).unwrap();
        seen.push((
            event["metadata"]["status"].clone(),
            event["metadata"]["err"].clone(),
        ));
    }
    assert_eq!(
        seen,
        [
            (json!("Pending"), json!("")),
            (json!("Running"), json!("")),
            (json!("Failure"), json!("no: disk"))
        ]
    );
    assert_eq!(operation.outcome().await.unwrap_err().text(), "no: disk");
}

#[tokio::test]
async fn a_panic_is_a_failure() {
    let app = TestApp::start().await;
    let panicking = async { panic!("oops") };
    let operation = app
        .operations
        .spawn(&ctx(), Options::task(Kind::InstanceStop), |_| panicking)
        .unwrap();
    assert_eq!(
        operation.outcome().await.unwrap_err().text(),
        "The operation panicked"
    );
}

#[tokio::test]
async fn cancelling() {
    let app = TestApp::start().await;
    let fixed = app
        .operations
        .spawn(&ctx(), Options::task(Kind::InstanceStop), |_| {
            std::future::pending()
        });
    let error = app.operations.cancel(&ctx(), fixed.unwrap().id()).unwrap_err();
    assert_eq!(error.text(), "This operation can't be cancelled");

    let options = Options::task(Kind::ImageDownload).may_cancel();
    let work = |operation: Operation| async move {
        operation.cancel_token().cancelled().await;
        Err(Error::cancelled("Operation cancelled"))
    };
    let operation = app.operations.spawn(&ctx(), options, work).unwrap();
    app.operations.cancel(&ctx(), operation.id()).unwrap();
    operation.wait(None).await;
    assert_eq!(operation.wire().status_code, 401);
    let error = app.operations.cancel(&ctx(), operation.id()).unwrap_err();
    assert_eq!(error.text(), "Only running operations can be cancelled");

    let token = app
        .operations
        .token(&ctx(), Options::token(Kind::CertificateAddToken))
        .unwrap();
    app.operations.cancel(&ctx(), token.id()).unwrap();
    assert_eq!(token.status(), Status::Cancelled);
}

#[tokio::test]
async fn websockets_are_redeemed_once_and_by_their_secret_only() {
    let app = TestApp::start().await;
    let sockets = Sockets::new(["0", "control"]);
    let secrets = sockets.secrets();
    assert!(secrets.values().all(|s| s.len() == 64));
    let options = Options::websocket(Kind::CommandExec, sockets).metadata("fds", json!(secrets));
    let work = |operation: Operation| async move {
        let mut socket = operation.sockets().take("0").await?;
        let message = futures::StreamExt::next(&mut socket.receiver)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(message, Message::Text("hello".into()));
        Ok(())
    };
    let operation = app.operations.spawn(&ctx(), options, work).unwrap();
    assert!(app.operations.connect(operation.id(), "wrong").is_err());
    let ticket = app.operations.connect(operation.id(), &secrets["0"]).unwrap();
    assert!(app.operations.connect(operation.id(), &secrets["0"]).is_err());
    ticket.attach(Socket {
        receiver: Box::pin(futures::stream::iter([Ok(Message::Text("hello".into()))])),
        sender: Box::pin(futures::sink::SinkExt::sink_map_err(
            futures::sink::drain(),
            |never: std::convert::Infallible| match never {},
        )),
    });
    operation.outcome().await.unwrap();

    let untrusted = Ctx::new(Caller::Untrusted { certificate: None });
    let wait = |secret| app.operations.wait(&untrusted, operation.id(), secret, None);
    assert!(wait(None).await.is_err());
    assert!(wait(Some("wrong")).await.is_err());
    assert_eq!(
        wait(Some(secrets["control"].as_str())).await.unwrap().status_code,
        200
    );
}

#[tokio::test]
async fn a_stopping_daemon_takes_no_more() {
    let app = TestApp::start().await;
    let work = |operation: Operation| async move {
        operation.cancel_token().cancelled().await;
        Ok(())
    };
    let operation = app
        .operations
        .spawn(&ctx(), Options::task(Kind::ImageDownload), work)
        .unwrap();
    app.stop(Duration::from_millis(10)).await;
    operation.wait(None).await;
    let refused = app
        .operations
        .spawn(&ctx(), Options::task(Kind::ImageDelete), |_| async { Ok(()) });
    assert_eq!(refused.err().unwrap().kind(), lxd_model::ErrorKind::Unavailable);
}

/// A work that makes files; it stands for all that have side effects.
#[derive(Serialize, Deserialize)]
struct Files {
    dir: std::path::PathBuf,
    /// Where `first` was made, noted by it for `second`.
    made: Option<String>,
}

impl Work for Files {
    const KIND: &'static str = "test.files";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        crate::steps![Self;
            "first": Self::first => Self::undo_first;
            unrecorded "second": Self::second => Self::undo_second;
            "third": Self::third;
        ]
    }
}

impl Files {
    async fn first(&mut self, _: &Task) -> Result<()> {
        std::fs::write(self.dir.join("first"), "").unwrap();
        self.made = Some("first".into());
        Ok(())
    }

    async fn undo_first(&mut self, _: &Task) -> Result<()> {
        drop(std::fs::remove_file(self.dir.join("first")));
        Ok(())
    }

    async fn second(&mut self, _: &Task) -> Result<()> {
        assert_eq!(self.made.as_deref(), Some("first"));
        std::fs::write(self.dir.join("second"), "").unwrap();
        Ok(())
    }

    async fn undo_second(&mut self, _: &Task) -> Result<()> {
        drop(std::fs::remove_file(self.dir.join("second")));
        Ok(())
    }

    async fn third(&mut self, task: &Task) -> Result<()> {
        task.operation.set_metadata("files", 2);
        Ok(())
    }
}

/// The same, brought to its end by the next daemon.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct FinishedFiles(Files);

impl Work for FinishedFiles {
    const KIND: &'static str = "test.finished-files";
    const ON_CRASH: OnCrash = OnCrash::Finish;

    fn steps() -> &'static [Step<Self>] {
        crate::steps![Self;
            "first": Self::first => Self::undo_first;
            "second": Self::second => Self::undo_second;
        ]
    }
}

impl FinishedFiles {
    async fn first(&mut self, task: &Task) -> Result<()> {
        self.0.first(task).await
    }

    async fn undo_first(&mut self, task: &Task) -> Result<()> {
        self.0.undo_first(task).await
    }

    async fn second(&mut self, task: &Task) -> Result<()> {
        self.0.second(task).await
    }

    async fn undo_second(&mut self, task: &Task) -> Result<()> {
        self.0.undo_second(task).await
    }
}

/// A work that can't be undone while a file `held` is there.
#[derive(Serialize, Deserialize)]
struct Held(std::path::PathBuf);

impl Work for Held {
    const KIND: &'static str = "test.held";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        crate::steps![Self;
            "make": Self::make => Self::remove;
            unrecorded "check": Self::check;
        ]
    }
}

impl Held {
    async fn make(&mut self, _: &Task) -> Result<()> {
        std::fs::write(self.0.join("made"), "").unwrap();
        Ok(())
    }

    async fn remove(&mut self, task: &Task) -> Result<()> {
        self.check(task).await?;
        drop(std::fs::remove_file(self.0.join("made")));
        Ok(())
    }

    async fn check(&mut self, _: &Task) -> Result<()> {
        match self.0.join("held").exists() {
            true => Err(crate::error::Error::internal("It is held")),
            false => Ok(()),
        }
    }
}

#[tokio::test]
async fn what_could_not_be_undone_is_left_alone_once_the_thing_is_made_anew() {
    for is_made_anew in [true, false] {
        let app = TestApp::start().await;
        let world = tempfile::tempdir().unwrap();
        let make = || {
            let options = Options::task(Kind::InstanceCreate).resource("instances", "c1");
            start(&app, &ctx(), options, Held(world.path().into())).unwrap()
        };
        std::fs::write(world.path().join("held"), "").unwrap();
        make().outcome().await.unwrap_err();
        std::fs::remove_file(world.path().join("held")).unwrap();
        if is_made_anew {
            make().outcome().await.unwrap();
        }
        let app = app.restart().await;
        assert_eq!(world.path().join("made").exists(), is_made_anew);
        assert!(app.journal.unfinished().await.unwrap().is_empty());
    }
}

/// Adds the works of these tests.
pub(crate) fn works(works: &mut Works) {
    works.add::<Held>();
    works.add::<Files>();
    works.add::<FinishedFiles>();
}

fn names(dir: &std::path::Path) -> BTreeSet<String> {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[tokio::test]
async fn works_are_clean_under_every_fault() {
    let app = TestApp::start().await;
    let world = tempfile::tempdir().unwrap();
    let files = || Files {
        dir: world.path().into(),
        made: None,
    };
    let remove = async || {
        assert_eq!(names(world.path()).len(), 2, "the work has not been finished");
        for name in names(world.path()) {
            std::fs::remove_file(world.path().join(name)).unwrap();
        }
    };
    let is_clean = async || assert!(names(world.path()).is_empty(), "{:?}", names(world.path()));
    testing::check_with(&app, &ctx(), files, remove, is_clean).await;
    testing::check_with(&app, &ctx(), || FinishedFiles(files()), remove, is_clean).await;
}

#[tokio::test]
async fn the_next_daemon_answers_for_the_last_ones_operations() {
    let app = TestApp::start().await;
    let world = tempfile::tempdir().unwrap();
    let files = || Files {
        dir: world.path().into(),
        made: None,
    };
    let options = || Options::task(Kind::InstanceCreate).resource("instances", "c1");
    let done = start(&app, &ctx(), options(), files()).unwrap();
    done.outcome().await.unwrap();
    app.faults.set(|_, step, when| match (step, when) {
        ("second", When::After) => Verdict::Crash,
        _ => Verdict::Go,
    });
    let dead = start(&app, &ctx(), options(), files()).unwrap();
    dead.wait(None).await;
    app.faults.clear();

    app.operations.all.lock().clear();
    recover(&app).await.unwrap();
    let done = app.operations.get(&ctx(), done.id()).await.unwrap();
    assert_eq!((done.status_code, &done.metadata), (200, &json!({"files": 2})));
    for ask in 0..2 {
        let dead = app.operations.wait(&ctx(), dead.id(), None, None).await.unwrap();
        assert_eq!(
            (dead.status_code, dead.description.as_str()),
            (400, "Creating instance"),
            "{ask}"
        );
        assert!(dead.err.contains("died"), "{}", dead.err);
        assert_eq!(dead.resources["instances"], ["/1.0/instances/c1"]);
        app.operations.all.lock().clear();
    }
    assert!(names(world.path()).is_empty());
}

/// The same for a work whose record lasts no longer than the boot.
#[derive(Serialize, Deserialize)]
struct Fleeting(Files);

impl Work for Fleeting {
    const KIND: &'static str = "test.fleeting";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn keep(&self) -> Keep {
        Keep::Boot
    }

    fn steps() -> &'static [Step<Self>] {
        crate::steps![Self; "first": Self::first => Self::undo_first;]
    }
}

impl Fleeting {
    async fn first(&mut self, task: &Task) -> Result<()> {
        self.0.first(task).await
    }

    async fn undo_first(&mut self, task: &Task) -> Result<()> {
        self.0.undo_first(task).await
    }
}

#[tokio::test]
async fn what_belongs_to_an_earlier_boot_is_not_undone() {
    let app = TestApp::start().await;
    for (boot, left) in [(None, 0), (Some("another"), 1)] {
        let world = tempfile::tempdir().unwrap();
        let dir = world.path().to_owned();
        app.faults.set(|_, _, when| match when {
            When::After => Verdict::Crash,
            When::Before => Verdict::Go,
        });
        let options = Options::task(Kind::InstanceUpdate);
        let dead = start(&app, &ctx(), options, Fleeting(Files { dir, made: None })).unwrap();
        dead.wait(None).await;
        app.faults.clear();

        let mut record = app.journal.get(dead.id()).await.unwrap().unwrap();
        assert_eq!(record.boot.as_deref(), Some(lxd_sys::system::boot_id()));
        record.boot = boot.map(str::to_owned).or(record.boot);
        let task = Task {
            app: Arc::clone(&app),
            ctx: Ctx::daemon("default"),
            operation: dead.clone(),
        };
        let failed = steps::resume::<Fleeting>(&task, &record).await.unwrap_err();
        assert_eq!(failed.text().contains("host went down"), boot.is_some());
        assert_eq!(names(world.path()).len(), left);
        let unfinished = app.journal.unfinished().await.unwrap();
        assert!(unfinished.is_empty(), "{unfinished:?}");
    }
}

#[tokio::test]
async fn a_cancelled_work_is_undone() {
    let app = TestApp::start().await;
    let world = tempfile::tempdir().unwrap();
    let options = Options::task(Kind::InstanceCreate).may_cancel();
    let hook = app.operations.clone();
    app.faults.set(move |_, step, when| {
        if (step, when) == ("second", When::After) {
            for operation in hook.running() {
                hook.cancel(&ctx(), operation.id()).unwrap();
            }
        }
        Verdict::Go
    });
    let work = Files {
        dir: world.path().into(),
        made: None,
    };
    let operation = start(&app, &ctx(), options, work).unwrap();
    operation.wait(None).await;
    app.faults.clear();
    assert_eq!(operation.status(), Status::Cancelled);
    assert!(names(world.path()).is_empty());
}

#[tokio::test]
async fn outcomes_outlive_the_daemon() {
    let app = TestApp::start().await;
    let world = tempfile::tempdir().unwrap();
    let files = || Files {
        dir: world.path().into(),
        made: None,
    };
    let done = start(&app, &ctx(), Options::task(Kind::InstanceCreate), files()).unwrap();
    done.outcome().await.unwrap();
    for name in names(world.path()) {
        std::fs::remove_file(world.path().join(name)).unwrap();
    }
    app.faults.set(|_, step, _| {
        if step == "third" {
            Verdict::Crash
        } else {
            Verdict::Go
        }
    });
    let dead = start(&app, &ctx(), Options::task(Kind::InstanceCreate), files()).unwrap();
    dead.wait(None).await;
    assert_eq!(names(world.path()).len(), 2);

    let app = app.restart().await;
    assert!(names(world.path()).is_empty());
    for (operation, code) in [(done, 200), (dead, 400)] {
        let wire = app
            .operations
            .wait(&ctx(), operation.id(), None, None)
            .await
            .unwrap();
        assert_eq!(
            (wire.status_code, wire.description.as_str()),
            (code, "Creating instance")
        );
    }
}
