//! `/ws`: a WebSocket that sends back what it gets. Over HTTP/2 it answers an extended CONNECT.

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;

use crate::problem::Problem;

pub(crate) async fn upgrade(
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    Ok(upgrade?.on_upgrade(echo))
}

/// Echoes text and binary messages until either side is gone. Pings and closes are answered further down.
async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).await.is_err() {
            return;
        }
    }
}
