//! SIGKILL at random moments, over and over on one data directory.
//!
//! `WAYPOST_TEST_KILLS` sets the number of kills (20 by default).

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

const DIR: &str = "WAYPOST_TEST_KILL_DIR";
/// Records that gather before they are settled.
const KEPT_MAX: usize = 10_000;

/// The child's part; does nothing in an ordinary run. Appends for ever, and prints the number after the last that was
/// acknowledged.
#[tokio::test]
async fn workload_to_be_killed() {
    let Some(dir) = env::var_os(DIR) else { return };
    let mut store = open_store(Path::new(&dir));
    store.generation_bytes_max = 300 * 1024;
    let sink = SinkName::new("cloud").unwrap();
    let queue = store.open_queue(&sink, &options(WhenFull::DropOldest, 1 << 30)).unwrap();
    let mut next = queue.appended().borrow().0;
    loop {
        let end = next + fastrand::u64(1..30);
        append(&queue, (next..end).map(|n| incompressible(n, 700)).collect()).await;
        next = end;
        // The harness captures `println!`; this goes to the pipe itself.
        let mut out = io::stdout();
        writeln!(out, "acked {next}").unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test]
async fn acknowledged_records_survive_any_number_of_kills() {
    let kills: usize = env::var("WAYPOST_TEST_KILLS").map_or(20, |kills| kills.parse().unwrap());
    let dir = TempDir::new().unwrap();
    let (mut acknowledged, mut settled) = (1, 0);
    for kill in 0..kills {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "store::tests::kill::workload_to_be_killed", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Some are killed while they open, the others after a random number of acknowledgements.
        let after = if kill % 3 == 0 { 0 } else { fastrand::usize(1..120) };
        let mut seen = 0;
        for line in lines {
            if seen >= after {
                child.kill().unwrap();
            }
            let line = line.unwrap();
            if let Some((_, number)) = line.rsplit_once("acked ") {
                acknowledged = number.parse().unwrap();
                seen += 1;
            }
        }
        child.wait().unwrap();
        let mut store = open_store(dir.path());
        store.generation_bytes_max = 300 * 1024;
        let sink = SinkName::new("cloud").unwrap();
        let queue = store.open_queue(&sink, &options(WhenFull::DropOldest, 1 << 30)).unwrap();
        let found = waiting(&queue).await;
        let found_upto = settled + found.len() as u64;
        assert!(found_upto >= acknowledged - 1, "kill {kill}: {found_upto} found");
        for (number, record) in (settled + 1..).zip(&found) {
            assert_eq!(record.number.0, number, "kill {kill}");
            assert_eq!(
                record.record.event.message().unwrap().id,
                u128::from(number).to_be_bytes(),
                "kill {kill}"
            );
        }
        // Otherwise each kill of a long campaign would read all of them.
        if found.len() > KEPT_MAX {
            let delivered: Vec<_> = found.iter().map(|record| record.number).collect();
            queue.settle_delivered(&delivered);
            settled = found_upto;
        }
        queue.close().await;
    }
    assert!(acknowledged > 100, "only {acknowledged}");
}
