//! General matrix products by the crate `gemm`, behind bounds checks. For training; inference has kernels of its own.

/// A matrix to read: `rows x cols` elements of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, T> Mat<'a, T> {
    /// Row after row, `row_stride` elements apart.
    ///
    /// # Panics
    /// If the slice is too short.
    #[must_use]
    pub fn new(data: &'a [T], rows: usize, cols: usize, row_stride: usize) -> Self {
        assert_fits(data.len(), rows, cols, row_stride);
        Self { data, rows, cols, row_stride, col_stride: 1 }
    }

    /// Its transpose, the same elements.
    #[must_use]
    pub const fn t(self) -> Self {
        Self {
            data: self.data,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }
}

/// A matrix to write: row after row.
#[derive(Debug)]
pub struct MatMut<'a, T> {
    data: &'a mut [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
}

impl<'a, T> MatMut<'a, T> {
    /// Row after row, `row_stride` elements apart.
    ///
    /// # Panics
    /// If the slice is too short, or rows overlap.
    #[must_use]
    pub fn new(data: &'a mut [T], rows: usize, cols: usize, row_stride: usize) -> Self {
        assert_fits(data.len(), rows, cols, row_stride);
        assert!(rows <= 1 || row_stride >= cols, "rows of {cols} elements, {row_stride} apart, overlap");
        Self { data, rows, cols, row_stride }
    }
}

fn assert_fits(len: usize, rows: usize, cols: usize, row_stride: usize) {
    let end = rows.checked_sub(1).and_then(|last| last.checked_mul(row_stride)?.checked_add(cols));
    let fits = rows == 0 || cols == 0 || end.is_some_and(|end| end <= len && end <= isize::MAX as usize);
    assert!(fits, "{rows} rows of {cols} elements, {row_stride} apart, do not fit into {len}");
}

/// The types of elements that can be multiplied: `f32` and `f64`, the ones that `gemm` knows by their type.
pub trait Element: Copy + Send + Sync + 'static + sealed::Sealed {
    /// 0
    const ZERO: Self;
    /// 1
    const ONE: Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

impl Element for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
}

impl Element for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
}

/// `y = a b`, on the calling thread. With no columns in `a`: zeros.
///
/// # Panics
/// If the sizes do not fit each other.
pub fn matmul<T: Element>(y: MatMut<'_, T>, a: Mat<'_, T>, b: Mat<'_, T>) {
    product(y, a, b, false);
}

/// `y += a b`, on the calling thread.
///
/// # Panics
/// If the sizes do not fit each other.
pub fn matmul_add<T: Element>(y: MatMut<'_, T>, a: Mat<'_, T>, b: Mat<'_, T>) {
    product(y, a, b, true);
}

fn product<T: Element>(y: MatMut<'_, T>, a: Mat<'_, T>, b: Mat<'_, T>, add: bool) {
    assert!(
        y.rows == a.rows && y.cols == b.cols && a.cols == b.rows,
        "product of {}x{} and {}x{} into {}x{}",
        a.rows,
        a.cols,
        b.rows,
        b.cols,
        y.rows,
        y.cols
    );
    // SAFETY: the constructors proved that the elements of all three lie in their slices, and that those of `y` are distinct; `y` is borrowed
    // exclusively, so it overlaps neither `a` nor `b`; `T` is one of the types that `gemm` knows.
    unsafe {
        gemm::gemm(
            y.rows,
            y.cols,
            a.cols,
            y.data.as_mut_ptr(),
            1,
            y.row_stride as isize,
            add,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            if add { T::ONE } else { T::ZERO },
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn products_are_sums(m in 0..20usize, n in 0..40usize, k in 0..30usize, pad in 0..3usize, transposed: [bool; 2], add: bool) {
            let value = |i: usize| ((i * 37 + 11) % 17) as f64 - 8.0;
            let make = |rows: usize, cols: usize| -> Vec<f64> { (0..rows * (cols + pad)).map(value).collect() };
            // Small whole numbers: sums are exact in any order.
            let (a_data, b_data) = (make(m.max(k), m.max(k)), make(n.max(k), n.max(k)));
            let view = |data, rows: usize, cols: usize, transposed: bool| {
                if transposed { Mat::new(data, cols, rows, rows + pad).t() } else { Mat::new(data, rows, cols, cols + pad) }
            };
            let (a, b) = (view(&a_data, m, k, transposed[0]), view(&b_data, k, n, transposed[1]));
            let at = |mat: &Mat<'_, f64>, row: usize, col: usize| mat.data[row * mat.row_stride + col * mat.col_stride];
            let mut y = make(m, n);
            let before = y.clone();
            product(MatMut::new(&mut y, m, n, n + pad), a, b, add);
            for row in 0..m {
                for col in 0..n + pad {
                    let old = before[row * (n + pad) + col];
                    let sum: f64 = (0..k).map(|i| if col < n { at(&a, row, i) * at(&b, i, col) } else { 0.0 }).sum();
                    let expected = if col >= n || add { old + sum } else { sum };
                    prop_assert_eq!(y[row * (n + pad) + col], expected);
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "do not fit")]
    fn short_slices_are_refused() {
        let _ = Mat::new(&[0f32; 11], 3, 4, 4);
    }

    #[test]
    #[should_panic(expected = "overlap")]
    fn overlapping_rows_are_refused() {
        let _ = MatMut::new(&mut [0f32; 12], 3, 4, 3);
    }
}
