use super::*;
use futures_lite::future::block_on;
use std::sync::mpsc;

#[test]
fn tasks_jobs_and_timers_run() {
    let host = LinuxHost::start(2).unwrap();
    let (done, ended) = mpsc::channel();
    for number in 0..40 {
        let (host, done) = (host.clone(), done.clone());
        let again = host.clone();
        host.spawn(Box::pin(async move {
            again.sleep(Duration::from_millis(number % 3)).await;
            again.run_blocking(Box::new(move || done.send(number).unwrap()));
        }));
    }
    drop(done);
    let mut seen: Vec<u64> = ended.iter().take(40).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..40).collect::<Vec<_>>());
}

#[test]
fn timers_fire_in_order_and_not_early() {
    let host = LinuxHost::start(1).unwrap();
    let before = host.now();
    block_on(async {
        let long = host.sleep(Duration::from_millis(30));
        let short = host.sleep(Duration::from_millis(5));
        let first = futures_lite::future::or(
            async {
                long.await;
                "long"
            },
            async {
                short.await;
                "short"
            },
        );
        assert_eq!(first.await, "short");
    });
    assert!(host.now() - before >= Duration::from_millis(5));
    assert!(host.timer_is_empty(), "a dropped sleep must leave nothing behind");
}

#[test]
fn a_panicking_job_does_not_end_the_pool() {
    let host = LinuxHost::start(1).unwrap();
    host.run_blocking(Box::new(|| panic!("as planned")));
    let (done, ended) = mpsc::channel();
    host.run_blocking(Box::new(move || done.send(()).unwrap()));
    assert!(ended.recv_timeout(Duration::from_secs(5)).is_ok());
}

#[test]
fn shutdown_finishes_the_jobs_it_was_given() {
    let host = LinuxHost::start(1).unwrap();
    let (done, ended) = mpsc::channel();
    for _ in 0..100 {
        let done = done.clone();
        host.run_blocking(Box::new(move || done.send(()).unwrap()));
    }
    host.shutdown();
    assert_eq!(ended.try_iter().count(), 100);
}

#[test]
fn random_bits_differ() {
    let host = LinuxHost::start(1).unwrap();
    assert_ne!(host.random(), host.random());
}
