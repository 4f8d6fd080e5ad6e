//! `waypost run`

use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use super::{ConfigArguments, Failure, logging, runtime, tell};
use crate::daemon;

pub(super) fn run(arguments: &ConfigArguments) -> Result<(), Failure> {
    let config = arguments.load_and_warn()?;
    for finding in &config.failed_tests {
        tell(&format!("warning: {finding}"));
    }
    logging::start(&config.log)?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        // Taken before anything starts: a SIGTERM during the start stops it as well.
        let mut terminate = signal(SignalKind::terminate()).map_err(|e| Failure::failed(&e))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| Failure::failed(&e))?;
        let mut stop_requested = std::pin::pin!(async {
            tokio::select! { _ = terminate.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" }
        });
        let running = tokio::select! {
            started = daemon::start(config) => started.map_err(|error| Failure::failed(&error))?,
            reason = &mut stop_requested => {
                info!(reason, "stopped while starting");
                return Ok(());
            }
        };
        running.run_until(stop_requested).await.map_err(|error| Failure::failed(&error))
    });
    // A resolver or disk thread that hangs must not hold the exit; everything durable is closed.
    runtime.shutdown_background();
    outcome
}
