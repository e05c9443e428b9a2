//! Images and the windows that slide over them: what depthwise convolutions and pooling share.

use crate::call::CallError;

/// The size of one plane's image: rows of `width` floats, `pitch` apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Rows, at least one.
    pub height: usize,
    /// Columns, at least one.
    pub width: usize,
    /// Floats from one row to the next, at least `width`.
    pub pitch: usize,
}

/// Where each output's window lies: output `(r, c)` reads the inputs `(r * stride - pad + i * dilation, ..)` for `i < kernel`, vertical sizes
/// first in each pair. What lies behind the image on the right and at the bottom follows from the size of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns of the window, at least one.
    pub kernel: [usize; 2],
    /// Inputs from one output to the next, at least one.
    pub stride: [usize; 2],
    /// Inputs from one element of the window to the next, at least one.
    pub dilation: [usize; 2],
    /// Rows above and columns left of the image in the first window.
    pub pad: [usize; 2],
}

impl Image {
    /// Floats from the first pixel to the end of the last row.
    pub(crate) const fn len(&self) -> usize {
        (self.height - 1) * self.pitch + self.width
    }

    /// Floats from the first pixel to the end of what [`strips`] of `lanes` columns write.
    pub(crate) fn written(&self, lanes: usize) -> usize {
        (self.height - 1) * self.pitch + self.width.max(lanes)
    }

    /// That offsets inside it can be computed without overflow.
    pub(crate) fn check(&self) -> Result<(), CallError> {
        let shape = |what, found, expected| Err(CallError::Shape { what, found, expected });
        if self.height == 0 || self.width == 0 {
            return shape("the size of an image", 0, "at least one row and one column");
        }
        if self.pitch < self.width {
            return shape("the pitch", self.pitch, "at least the width");
        }
        if !self.height.checked_mul(self.pitch).is_some_and(fits) {
            return shape("the pitch", self.pitch, "an image that fits in the arena");
        }
        Ok(())
    }
}

impl Window {
    /// That windows over `input` give `output` and every position in them can be computed without overflow.
    pub(crate) fn check(&self, input: &Image, output: &Image) -> Result<(), CallError> {
        input.check()?;
        output.check()?;
        for (axis, outputs) in [output.height, output.width].into_iter().enumerate() {
            let [kernel, stride, dilation, pad] =
                [self.kernel, self.stride, self.dilation, self.pad].map(|pair| pair[axis]);
            if let Some(&found) = [kernel, stride, dilation].iter().find(|&&size| size == 0) {
                return Err(CallError::Shape { what: "a size of the window", found, expected: "at least one" });
            }
            let reach = |n: usize, step: usize| n.checked_mul(step).filter(|&reach| fits(reach));
            if !fits(pad) || reach(outputs, stride).is_none() || reach(kernel, dilation).is_none() {
                return Err(CallError::Shape {
                    what: "the reach of the windows",
                    found: outputs,
                    expected: "below 2^31",
                });
            }
        }
        Ok(())
    }
}

const fn fits(n: usize) -> bool {
    n <= i32::MAX as usize
}

/// The first columns of the vectors that cover a row of `width`. The last one ends with the row where it can, and computes some columns again; the only
/// one of a narrower row overruns it, so rows have to be written in ascending order.
#[inline(always)]
pub(crate) fn strips(width: usize, lanes: usize) -> impl Iterator<Item = usize> {
    (0..width).step_by(lanes).map(move |column| column.min(width.saturating_sub(lanes)))
}
