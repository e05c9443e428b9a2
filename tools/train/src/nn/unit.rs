//! A convolution and the batch norm behind it.

use super::{Act, Affine, Buffers, Depthwise, Float, InputGradient, LANES, Norm, Param, Pointwise, Source, Sums, norm};

/// The kinds of convolution.
#[derive(Clone, Debug)]
pub enum Conv<F> {
    /// 1x1, dense or grouped.
    Pointwise(Box<Pointwise<F>>),
    /// 3x3, each channel on its own.
    Depthwise(Depthwise<F>),
}

/// The running statistics of a norm.
#[derive(Debug)]
pub struct Running<'a, F> {
    /// Name of its unit.
    pub name: &'a str,
    /// Means.
    pub mean: &'a mut Vec<F>,
    /// Variances.
    pub variance: &'a mut Vec<F>,
}

impl<'a, F> Running<'a, F> {
    /// Both lists, by name.
    #[must_use]
    pub fn lists(self) -> [(String, &'a mut Vec<F>); 2] {
        let Self { name, mean, variance } = self;
        [(format!("{name}.mean"), mean), (format!("{name}.variance"), variance)]
    }
}

/// A convolution, its batch norm, and what it remembers of the last forward pass.
#[derive(Debug)]
pub struct Unit<F: Float> {
    /// Its name.
    pub name: String,
    /// The convolution.
    pub conv: Conv<F>,
    /// The batch norm.
    pub norm: Norm<F>,
    /// Raw output of the convolution, before the norm.
    y: Option<Act<F>>,
    /// The norm as it was applied.
    affine: Option<Affine<F>>,
    /// Sums of the values and of their squares over that output, and the number of values of each channel.
    seen: (Sums, usize),
}

const ORDER: &str = "a unit runs forward before it is read or runs backward";

impl<F: Float> Unit<F> {
    /// A convolution with a fresh norm.
    #[must_use]
    pub fn new(name: String, conv: Conv<F>) -> Self {
        let norm = Norm::new(
            &name,
            match &conv {
                Conv::Pointwise(conv) => conv.n,
                Conv::Depthwise(conv) => conv.c,
            },
        );
        Self { name, conv, norm, y: None, affine: None, seen: (Sums::new(), 0) }
    }

    /// Shape of the output for an input of `h x w`.
    #[must_use]
    pub fn output(&self, h: usize, w: usize) -> [usize; 3] {
        match &self.conv {
            Conv::Pointwise(conv) => [conv.n, h, w],
            Conv::Depthwise(conv) => {
                let [h, w] = conv.output(h, w);
                [conv.c, h, w]
            }
        }
    }

    /// Computes the raw output; with `training` the norm takes the statistics of this batch, else the running ones.
    pub fn forward(&mut self, x: Source<'_, F>, training: bool, buffers: &Buffers<F>) {
        let shape = self.output(x.raw.h, x.raw.w);
        let mut y = self.y.take().unwrap_or_else(|| buffers.take(shape, x.raw.parts.len()));
        let sums = match &self.conv {
            Conv::Pointwise(conv) => conv.forward(x, &mut y, buffers),
            Conv::Depthwise(conv) => conv.forward(x, &mut y, buffers),
        };
        let count = count(&y);
        self.affine = Some(if training { self.norm.with_batch(&sums, count) } else { self.norm.with_running() });
        self.y = Some(y);
        self.seen = (sums, count);
    }

    /// Sums of the values and of their squares over the raw output of the last forward pass, and the number of values of each channel.
    #[must_use]
    pub const fn output_sums(&self) -> (&Sums, usize) {
        (&self.seen.0, self.seen.1)
    }

    /// Gives the memory of the output away, to be computed again by [`Unit::repeat`]. Nobody may read it until then.
    pub fn forget(&mut self, buffers: &Buffers<F>) {
        if let Some(y) = self.y.take() {
            buffers.give(y);
        }
    }

    /// Computes the output of the last forward pass again, if it is forgotten.
    pub fn repeat(&mut self, x: Source<'_, F>, buffers: &Buffers<F>) {
        if self.y.is_none() {
            let mut y = buffers.take(self.output(x.raw.h, x.raw.w), x.raw.parts.len());
            match &self.conv {
                Conv::Pointwise(conv) => conv.forward(x, &mut y, buffers),
                Conv::Depthwise(conv) => conv.forward(x, &mut y, buffers),
            };
            self.y = Some(y);
        }
    }

    /// The raw output of the last forward pass, and the norm for it.
    ///
    /// # Panics
    /// If there was none.
    #[must_use]
    pub fn raw(&self) -> (&Act<F>, &Affine<F>) {
        self.y.as_ref().zip(self.affine.as_ref()).expect(ORDER)
    }

    /// The output, through norm and ReLU, for the next layer to read.
    #[must_use]
    pub fn source(&self) -> Source<'_, F> {
        let (raw, norm) = self.raw();
        Source { raw, norm: Some(norm) }
    }

    /// The sums that [`Unit::backward`] wants, for a gradient `g` of the norm's output that is complete.
    #[must_use]
    pub fn sums(&self, g: &Act<F>) -> Sums {
        let (raw, affine) = self.raw();
        norm::gradient_sums(g, raw, affine)
    }

    /// Gradients of everything learned from the gradient `g` of the norm's output and its sums, for a 1x1 convolution; returns the sums of
    /// [`InputGradient::BeforeNorm`].
    ///
    /// # Panics
    /// If this is no 1x1 convolution.
    pub fn backward(
        &mut self,
        x: Source<'_, F>,
        g: &Act<F>,
        sums: &Sums,
        dx: InputGradient<'_, F>,
        buffers: &Buffers<F>,
    ) -> Sums {
        let (y, affine) = self.y.as_ref().zip(self.affine.as_ref()).expect(ORDER);
        let coefficients = self.norm.backward(affine, sums, count(y));
        let Conv::Pointwise(conv) = &mut self.conv else { panic!("{} is no 1x1 convolution", self.name) };
        conv.backward(x, y, g, &coefficients, dx, buffers)
    }

    /// As [`Unit::backward`] for a depthwise convolution, which uses `g` up and returns the gradient of the input.
    ///
    /// # Panics
    /// If this is no depthwise convolution.
    pub fn backward_depthwise(
        &mut self,
        x: Source<'_, F>,
        g: Act<F>,
        sums: &Sums,
        buffers: &Buffers<F>,
    ) -> (Act<F>, Sums) {
        let (y, affine) = self.y.as_ref().zip(self.affine.as_ref()).expect(ORDER);
        let coefficients = self.norm.backward(affine, sums, count(y));
        let Conv::Depthwise(conv) = &mut self.conv else { panic!("{} is no depthwise convolution", self.name) };
        conv.backward(x, y, g, &coefficients, buffers)
    }

    /// Everything that is learned, in a fixed order.
    pub fn params_mut(&mut self) -> Vec<&mut Param<F>> {
        self.state_mut().0
    }

    /// Everything that is learned, and the running statistics.
    pub fn state_mut(&mut self) -> (Vec<&mut Param<F>>, Running<'_, F>) {
        let mut params = match &mut self.conv {
            Conv::Pointwise(conv) => {
                let members = conv.members.iter_mut().flat_map(|members| [&mut members.channels, &mut members.filters]);
                std::iter::once(&mut conv.weight).chain(members).collect()
            }
            Conv::Depthwise(conv) => vec![&mut conv.weight],
        };
        let Norm { gamma, beta, mean, variance } = &mut self.norm;
        params.extend([gamma, beta]);
        (params, Running { name: &self.name, mean, variance })
    }
}

/// Numbers of each channel in a batch.
fn count<F: Float>(y: &Act<F>) -> usize {
    y.parts.len() * y.h * y.w * LANES
}
