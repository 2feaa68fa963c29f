//! Unpacking: whatever the bytes say, nothing lands outside the target, and errors are errors.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lxd_storage::Watch;
use lxd_storage::images::{ImageFiles, Limits, unpack};

fuzz_target!(|data: &[u8]| {
    let home = tempfile::tempdir().expect("a temporary folder");
    let (inner, image) = (home.path().join("a/b/c/target"), home.path().join("image.tar"));
    std::fs::create_dir_all(&inner).expect("the target");
    std::fs::write(&image, data).expect("the image");
    let limits = Limits { bytes: 1 << 20, entries: 64, ratio: 100 };
    let _ = unpack(&ImageFiles::Unified(image), &inner, limits, &Watch::none());
    for (folder, only) in [("", "a image.tar"), ("a", "b"), ("a/b", "c"), ("a/b/c", "target")] {
        for entry in std::fs::read_dir(home.path().join(folder)).expect("the folders above") {
            let name = entry.expect("an entry").file_name();
            assert!(only.split(' ').any(|known| known == name), "{name:?} escaped to {folder:?}");
        }
    }
});
