//! `waypost run`

use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use super::{ConfigArguments, Failure, logging, runtime, tell};
use crate::daemon;

pub(super) fn run(arguments: &ConfigArguments) -> Result<(), Failure> {
    let config = arguments.load_and_warn()?;
    let file = arguments.config.clone();
    for finding in &config.failed_tests {
        tell(&format!("warning: {finding}"));
    }
    logging::start(&config.log)?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        // Taken before anything starts: a SIGTERM during the start stops it as well.
        let mut terminate = signal(SignalKind::terminate()).map_err(|e| Failure::failed(&e))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| Failure::failed(&e))?;
        let mut hang_up = signal(SignalKind::hangup()).map_err(|e| Failure::failed(&e))?;
        let mut stop_requested = std::pin::pin!(async {
            tokio::select! { _ = terminate.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" }
        });
        let running = tokio::select! {
            started = daemon::start(config, Some(file)) => started.map_err(|error| Failure::failed(&error))?,
            reason = &mut stop_requested => {
                info!(reason, "stopped while starting");
                return Ok(());
            }
        };
        let reloader = running.reloader();
        let reloads = async {
            while hang_up.recv().await.is_some() {
                // The log tells what came of it.
                drop(reloader(false).await);
            }
        };
        tokio::select! {
            ended = running.run_until(stop_requested) => ended.map_err(|error| Failure::failed(&error)),
            () = reloads => Ok(()),
        }
    });
    // A resolver or disk thread that hangs must not hold the exit; everything durable is closed.
    runtime.shutdown_background();
    outcome
}
