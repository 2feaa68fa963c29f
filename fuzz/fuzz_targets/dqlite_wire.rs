//! The decoder of dqlite's wire protocol: any bytes give a response or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((head, body)) = data.split_first_chunk::<8>() else { return };
    let _ = dqlite::wire::decode_header(*head);
    let _ = dqlite::wire::decode_response(head[4], body);
});
