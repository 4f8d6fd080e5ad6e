//! The listening ends: the admin socket and the exporter.

use super::stage::Stage;
use crate::admin::server::{self, ListenError, Views};
use crate::config::Config;

pub(super) async fn start_faces(config: &Config, views: &Views) -> Result<Stage, ListenError> {
    let mut stage = Stage::new("faces");
    let admin = server::listen_admin(&config.gateway.admin_socket).await?;
    let exporter = match config.metrics_listen {
        Some(address) => Some(server::listen_metrics(address).await?),
        None => None,
    };
    stage.spawn("admin socket", |stop| server::serve_admin(admin, views.clone(), stop));
    if let Some(listener) = exporter {
        stage.spawn("metrics", |stop| server::serve_metrics(listener, views.clone(), stop));
    }
    Ok(stage)
}
