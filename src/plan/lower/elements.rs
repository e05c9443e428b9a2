//! Layers that treat elements or whole axes: softmax, and the step that moves data.

use super::{Calls, Lower, Step, run_of};
use flgc_kernels::{CallError, gather, softmax};

impl Lower<'_, '_> {
    pub(super) fn softmax(&mut self, step: &Step<'_>, axis: usize, calls: &mut Calls) -> Result<(), CallError> {
        let kernel = self.kernels.softmax;
        let (input, output) = (&step.inputs[0], &step.output);
        let shape = input.shape;
        let n = shape[axis];
        if let ([images, _, h, w], 1, Some(x), Some(y)) =
            (shape.nchw().unwrap_or([1; 4]), axis, input.lanes(), output.lanes())
            && h * w > 1
        {
            let pixels = run_of([h, w], self.places.pitch(input), kernel.isa.lanes());
            for image in 0..images {
                let spec = softmax::Spec { pixels, n, x: self.planes(x, image).into(), y: &self.planes(y, image) };
                calls.add(kernel.name, softmax::Call::new(kernel, spec)?);
            }
            return Ok(());
        }
        // Element by element: a row for each place along the other axes.
        let inner: usize = shape[axis + 1..].iter().product();
        let rows = |addresses: Vec<u32>| -> Vec<u32> {
            let starts =
                (0..addresses.len() / (n * inner)).flat_map(|outer| (0..inner).map(move |i| outer * n * inner + i));
            starts.flat_map(|start| (0..n).map(move |i| start + i * inner)).map(|index| addresses[index]).collect()
        };
        let (x, y) = (rows(self.places.elements(input)), rows(self.places.elements(output)));
        let spec = softmax::Spec { pixels: 1, n, x: x.into(), y: &y };
        calls.add(kernel.name, softmax::Call::new(kernel, spec)?);
        Ok(())
    }

    /// Copies elements to where planes of their own are: a call for each row, whose places are contiguous.
    pub(super) fn gather(&mut self, step: &Step<'_>, calls: &mut Calls) -> Result<(), CallError> {
        let mut from = self.places.elements(&step.inputs[0]).into_iter();
        for (y, len) in self.places.runs(&step.output) {
            let x = from.by_ref().take(len as usize).collect();
            calls.add(gather::NAME, gather::Call::new(gather::Spec { x, y })?);
        }
        Ok(())
    }
}
