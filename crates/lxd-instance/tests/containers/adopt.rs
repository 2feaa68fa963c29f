//! Containers go on while no daemon runs, and the next one takes them over.

use std::time::Duration;

use lxd_instance::exec::Streams;
use lxd_instance::lifecycle::Phase;
use lxd_instance::{Cause, Event, Stop};

use crate::world::{World, exists, next, request, shell, soon};

#[tokio::test]
async fn running_and_frozen_ones_are_taken_over() {
    let world = World::new().await;
    let (running, frozen, stopped) = (
        world.instance_with_nic("a").await,
        world.instance("b").await,
        world.instance("c").await,
    );
    let (first, _events) = world.daemon();
    let pid = first.start(running.clone()).await.unwrap().pid;
    first.start(frozen.clone()).await.unwrap();
    first.freeze(&frozen.key).await.unwrap();
    drop(first);
    world.nobody_listens().await;

    let all = [running.clone(), frozen.clone(), stopped.clone()];
    let (second, mut events) = world.daemon();
    let mut adopted = second.adopt(&all).await.unwrap();
    adopted.sort();
    assert_eq!(adopted, [running.key.clone(), frozen.key.clone()]);
    assert_eq!(
        second.adopt(&all).await.unwrap(),
        [],
        "nobody is taken over twice"
    );
    assert_eq!(second.pid(&running.key), Some(pid));
    assert_eq!(second.phase(&frozen.key), Phase::Frozen);
    assert_eq!(second.phase(&stopped.key), Phase::Stopped);
    assert_eq!(shell(&second, &running.key, "echo hi").await.1, "hi\n");
    assert!(second.start(running.clone()).await.is_err());
    shell(&second, &running.key, "reboot -f").await;
    assert_eq!(
        next(&mut events).await,
        Event::Stopped(running.key.clone(), Cause::Reboot)
    );
    second.stop(&frozen.key, Stop::kill()).await.unwrap();
    second.clean_up(&stopped).await.unwrap();
}

#[tokio::test]
async fn one_that_reboots_while_nobody_listens_comes_back_with_its_card() {
    let world = World::new().await;
    let mut instance = world.instance_with_nic("r").await;
    let key = instance.key.clone();
    let (first, _events) = world.daemon();
    let started = first.start(instance.clone()).await.unwrap();
    instance.config.extend(started.volatile.iter().cloned());
    let monitor = lxd_sys::process::stat(started.pid).unwrap().parent;
    let mut asked = request(&[
        "/bin/sh",
        "-c",
        "while ! test -e /go; do sleep 0.01; done; reboot -f",
    ]);
    asked.streams = Streams::Null;
    first.exec(&key, asked).await.unwrap().begin().await;
    drop(first);
    world.nobody_listens().await;
    let rootfs = world.root.join("containers").join(&key.name).join("rootfs");
    std::fs::write(rootfs.join("go"), "").unwrap();
    let children = || lxd_sys::process::children(monitor).unwrap_or_default();
    let is_init = |pid: i32| lxd_sys::process::status(pid).is_ok_and(|s| s.namespace_pids.ends_with(&[1]));
    soon("another init runs", || {
        children()
            .into_iter()
            .any(|pid| pid != started.pid && is_init(pid))
    })
    .await;
    std::fs::remove_file(rootfs.join("go")).unwrap();

    let (second, _events) = world.daemon();
    let adopted = second.adopt(std::slice::from_ref(&instance)).await.unwrap();
    assert_eq!(adopted.first(), Some(&key));
    assert_ne!(second.pid(&key), Some(started.pid));
    let host_name = &instance.config["volatile.eth0.host_name"];
    // It may be taken over before its card is made.
    let card = loop {
        let mut state = second.state(&instance.key).await.unwrap().unwrap();
        match state.network.remove("eth0") {
            Some(card) => break card,
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    assert_eq!(&card.host_name, host_name);
    assert_eq!(card.hwaddr, instance.config["volatile.eth0.hwaddr"]);
    soon("its other end is there", || exists(host_name)).await;
    second.stop(&key, Stop::kill()).await.unwrap();
}

#[tokio::test]
async fn one_that_ended_while_nobody_listened_is_put_away() {
    let world = World::new().await;
    let instance = world.instance("e").await;
    let (first, _events) = world.daemon();
    let pid = first.start(instance.clone()).await.unwrap().pid;
    let monitor = lxd_sys::process::stat(pid).unwrap().parent;
    drop(first);
    world.nobody_listens().await;
    lxd_sys::process::Process::adopt(pid).unwrap().kill().unwrap();
    soon("its monitor ends", || !lxd_sys::process::exists(monitor)).await;
    let (second, _events) = world.daemon();
    assert_eq!(second.adopt(std::slice::from_ref(&instance)).await.unwrap(), []);
    world.calls();
    second.clean_up(&instance).await.unwrap();
    assert_eq!(world.calls(), ["unmount"]);
    assert!(!instance.paths.seccomp.exists());
}
