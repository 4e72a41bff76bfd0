//! `/data`: something to fetch that differs each time.

use axum::Json;
use jiff::Timestamp;
use serde_json::{Value, json};

pub(crate) async fn data() -> Json<Value> {
    Json(json!({
        "timestamp": Timestamp::now().to_string(),
        "message": "sample data",
        "values": [1, 2, 3, 5, 8],
    }))
}
