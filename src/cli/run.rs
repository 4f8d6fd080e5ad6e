//! `waypost run`

use tokio::signal::unix::{SignalKind, signal};

use super::{ConfigArguments, Failure, logging, runtime};
use crate::daemon;

pub(super) fn run(arguments: &ConfigArguments) -> Result<(), Failure> {
    let config = arguments.load()?;
    logging::start(&config.log)?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        // Taken before anything starts: a SIGTERM during the start stops it as well.
        let mut terminate = signal(SignalKind::terminate()).map_err(|e| Failure::failed(&e))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| Failure::failed(&e))?;
        let running = daemon::start(config).await.map_err(|error| Failure::failed(&error))?;
        let stop_requested = async {
            tokio::select! { _ = terminate.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" }
        };
        running.run_until(stop_requested).await.map_err(|error| Failure::failed(&error))
    });
    // A resolver or disk thread that hangs must not hold the exit; everything durable is closed.
    runtime.shutdown_background();
    outcome
}
