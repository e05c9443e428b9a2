//! Any bytes as a model file: an error or a model whose own bytes load again, never a panic.
#![no_main]

use flgc::Model;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = Model::from_bytes(data.to_vec());
    if let Ok(model) = Model::from_bytes(flgc_fuzz::with_checksum(data)) {
        let again = Model::from_bytes(model.as_bytes().to_vec()).expect("a model's own bytes load");
        assert_eq!(again.graph(), model.graph());
    }
});
