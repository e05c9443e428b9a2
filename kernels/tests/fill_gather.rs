//! Zeroed borders and gathered elements.

mod common;

use common::*;
use flgc_kernels::{Arena, CallSet, fill, gather};
use proptest::prelude::*;

proptest! {
    #[test]
    fn fill_zeroes_the_border_and_nothing_else(
        planes in 0usize..4, rows in 1usize..8, width in 1usize..20, gap in 0usize..4, before in 0usize..30, after in 0usize..30, seed: u64,
    ) {
        let mut random = Random(seed);
        let (pitch, size) = (width + gap, before + rows * (width + gap) + after);
        let mut y: Vec<u32> = (0..planes).map(|i| (i * (size + 1) + before) as u32).collect();
        random.shuffle(&mut y);
        let arena = vec![f32::NAN; planes * (size + 1)];
        let spec = fill::Spec { rows, width, pitch, before, after, y: &y };
        let after_run = run(fill::Call::new(spec).unwrap(), &weights(&[]), &arena);

        let mut expected = arena;
        for &y in &y {
            let y = y as usize;
            expected[y - before..y].fill(0.0);
            for row in 0..rows {
                expected[y + row * pitch + width..y + (row + 1) * pitch].fill(0.0);
            }
            expected[y + rows * pitch..][..after].fill(0.0);
        }
        assert_same_bits(&expected, &after_run, "fill");
    }

    #[test]
    fn gather_copies_each_element(n in 0usize..50, sources in 1usize..20, seed: u64) {
        let mut random = Random(seed);
        let before = random.floats(sources + n + 1);
        let x: Vec<u32> = (0..n).map(|_| random.below(sources) as u32).collect();
        let spec = gather::Spec { x: x.as_slice().into(), y: sources as u32 };
        let after = run(gather::Call::new(spec).unwrap(), &weights(&[]), &before);

        let mut expected = before;
        for (i, &x) in x.iter().enumerate() {
            expected[sources + i] = expected[x as usize];
        }
        assert_same_bits(&expected, &after, "gather");
    }
}

#[test]
fn wrong_shapes_are_refused() {
    let fill = |rows, width, pitch, before, after| {
        let call = fill::Call::new(fill::Spec { rows, width, pitch, before, after, y: &[100] });
        call.and_then(|call| CallSet::new(vec![call.into()])).is_ok()
    };
    assert!(fill(2, 3, 4, 5, 6));
    assert!(!fill(0, 3, 4, 5, 6));
    assert!(!fill(2, 0, 4, 5, 6));
    assert!(!fill(2, 5, 4, 5, 6));
    assert!(!fill(2, 3, 4, 101, 6), "before the arena");
    for huge in [1 << 32, 1 << 63, usize::MAX] {
        assert!(!fill(huge, 3, 4, 5, 6));
        assert!(!fill(2, 3, huge, 5, 6));
        assert!(!fill(2, 3, 4, huge, 6));
        assert!(!fill(2, 3, 4, 5, huge));
    }
    let gather =
        |x: Vec<u32>| CallSet::new(vec![gather::Call::new(gather::Spec { x: x.into(), y: 8 }).unwrap().into()]);
    assert!(gather(vec![0, 7, 11]).is_ok());
    assert!(gather(vec![0, 9]).is_err(), "an element of the output");
    assert!(gather(vec![u32::MAX]).is_err(), "no arena is that large");
    let set = gather(vec![0, 7]).unwrap();
    let mut small = Arena::new(set.arena_end() - 1).unwrap();
    let run = std::panic::AssertUnwindSafe(|| set.run(&weights(&[]), &mut small, &[]));
    assert!(std::panic::catch_unwind(run).is_err());
}
