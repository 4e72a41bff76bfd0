use crate::support::{Connection, get, start};

#[test]
fn a_stream_is_chunks_of_text() {
    let response = get(start().addr(), "/stream?chunks=3&interval=1ms");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("transfer-encoding"), Some("chunked"));
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(response.text(), "chunk 1\nchunk 2\nchunk 3\n");
}

#[test]
fn five_chunks_unless_told_otherwise() {
    let backend = start();
    assert_eq!(get(backend.addr(), "/stream?interval=0ms").text().lines().count(), 5);
    assert_eq!(get(backend.addr(), "/stream?chunks=0").text(), "");
}

#[test]
fn the_first_piece_comes_at_once_and_on_its_own() {
    let backend = start();
    for (target, first) in
        [("/stream?chunks=2&interval=600s", "chunk 1\n"), ("/sse?interval=600s", "id: 1\ndata: event 1\n\n")]
    {
        let mut connection = Connection::open(backend.addr());
        connection.write("GET", target, &[], b"");
        assert_eq!(connection.read_head().status, 200);
        assert_eq!(connection.read_chunk().unwrap(), first.as_bytes());
    }
}

#[test]
fn events_end_when_told_to() {
    let response = get(start().addr(), "/sse?events=2&interval=1ms");
    assert_eq!(response.header("content-type"), Some("text/event-stream"));
    assert_eq!(response.text(), "id: 1\ndata: event 1\n\nid: 2\ndata: event 2\n\n");
}

#[test]
fn events_go_on_when_not_told_to_end() {
    let backend = start();
    let mut connection = Connection::open(backend.addr());
    connection.write("GET", "/sse?interval=0ms", &[], b"");
    connection.read_head();
    let mut seen = Vec::new();
    while !seen.ends_with(b"data: event 1000\n\n") {
        seen.extend(connection.read_chunk().unwrap());
    }
}

#[test]
fn bad_numbers_are_refused() {
    let backend = start();
    for target in ["/stream?chunks=x", "/stream?interval=5", "/sse?events=-1", "/sse?interval=601s"] {
        get(backend.addr(), target).assert_problem(400);
    }
}
