//! The inverted residual block of MobileNetV2.

use super::{Act, Buffers, Float, InputGradient, Source, Unit, rows};
use rayon::prelude::*;

/// One block: expand, depthwise, project, and a way around where the stride is 1.
#[derive(Debug)]
pub struct Block<F: Float> {
    /// 1x1 to more channels.
    pub expand: Unit<F>,
    /// 3x3.
    pub depthwise: Unit<F>,
    /// 1x1 to fewer channels; no ReLU.
    pub project: Unit<F>,
    /// What is added to that.
    pub shortcut: Shortcut<F>,
    /// How long the output of `expand` is kept.
    pub keep: Keep,
    /// Output of the last forward pass.
    out: Option<Act<F>>,
}

/// How long the largest activation of a block is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// From batch to batch.
    Always,
    /// From the forward pass to the backward pass.
    ForBackward,
    /// Not beyond the forward pass: the backward pass computes it again.
    Nothing,
}

/// The way around a block.
#[derive(Debug)]
pub enum Shortcut<F: Float> {
    /// None: the stride is not 1.
    None,
    /// The input.
    Identity,
    /// A 1x1 convolution with batch norm: the channels differ.
    Unit(Box<Unit<F>>),
}

impl<F: Float> Block<F> {
    /// Of these layers.
    #[must_use]
    pub const fn new(expand: Unit<F>, depthwise: Unit<F>, project: Unit<F>, shortcut: Shortcut<F>) -> Self {
        Self { expand, depthwise, project, shortcut, keep: Keep::Always, out: None }
    }

    /// Computes the output.
    pub fn forward(&mut self, x: Source<'_, F>, training: bool, buffers: &Buffers<F>) {
        let Self { expand, depthwise, project, shortcut, keep, out } = self;
        expand.forward(x, training, buffers);
        depthwise.forward(expand.source(), training, buffers);
        project.forward(depthwise.source(), training, buffers);
        if let Shortcut::Unit(unit) = shortcut {
            unit.forward(x, training, buffers);
        }
        let shortcut = &*shortcut;
        let (raw, norm) = project.raw();
        let plane = raw.plane();
        let out = out.get_or_insert_with(|| buffers.take([raw.c, raw.h, raw.w], raw.parts.len()));
        out.parts.par_iter_mut().enumerate().for_each(|(part, out)| {
            let [mut sum, mut around] = [(); 2].map(|()| buffers.vector(plane));
            for (channel, out) in out.chunks_exact_mut(plane).enumerate() {
                let of = channel * plane..(channel + 1) * plane;
                rows::affine(&raw.parts[part][of.clone()], norm.scale[channel], norm.shift[channel], &mut sum);
                match shortcut {
                    Shortcut::None => {}
                    Shortcut::Identity => {
                        x.read(part, channel, 0, &mut around);
                        rows::add(&around, &mut sum);
                    }
                    Shortcut::Unit(unit) => {
                        let (raw, norm) = unit.raw();
                        rows::affine_add(&raw.parts[part][of], norm.scale[channel], norm.shift[channel], &mut sum);
                    }
                }
                rows::round(&sum, out);
            }
            [sum, around].into_iter().for_each(|vector| buffers.give_vector(vector));
        });
        // Last, so that nothing smaller takes that memory.
        if *keep == Keep::Nothing {
            expand.forget(buffers);
        }
    }

    /// The output, for the next layer to read.
    ///
    /// # Panics
    /// If there was no forward pass.
    #[must_use]
    pub fn source(&self) -> Source<'_, F> {
        Source::plain(self.out.as_ref().expect("a block runs forward before it is read"))
    }

    /// Gradients of everything learned from the gradient `g` of the output, which is used up; returns the gradient of what was read.
    pub fn backward(&mut self, x: Source<'_, F>, mut g: Act<F>, buffers: &Buffers<F>) -> Act<F> {
        let Self { expand, depthwise, project, shortcut, .. } = self;
        let parts = g.parts.len();
        expand.repeat(x, buffers);
        let like = |act: &Act<F>| buffers.take([act.c, act.h, act.w], parts);
        let mut g_wide = like(depthwise.raw().0);
        let sums = project.sums(&g);
        let wide_sums =
            project.backward(depthwise.source(), &g, &sums, InputGradient::BeforeNorm(&mut g_wide), buffers);
        let (g_wide, wide_sums) = depthwise.backward_depthwise(expand.source(), g_wide, &wide_sums, buffers);
        let add = match shortcut {
            Shortcut::None => {
                buffers.give(std::mem::replace(&mut g, like(x.raw)));
                false
            }
            // The gradient of the output is one of the input, too.
            Shortcut::Identity => true,
            Shortcut::Unit(unit) => {
                let g_out = std::mem::replace(&mut g, like(x.raw));
                let sums = unit.sums(&g_out);
                unit.backward(x, &g_out, &sums, InputGradient::AsRead { dx: &mut g, add: false }, buffers);
                buffers.give(g_out);
                true
            }
        };
        expand.backward(x, &g_wide, &wide_sums, InputGradient::AsRead { dx: &mut g, add }, buffers);
        buffers.give(g_wide);
        if self.keep != Keep::Always {
            self.expand.forget(buffers);
        }
        g
    }

    /// Its convolutions in order.
    pub fn units_mut(&mut self) -> impl Iterator<Item = &mut Unit<F>> {
        let shortcut = match &mut self.shortcut {
            Shortcut::Unit(unit) => Some(&mut **unit),
            _ => None,
        };
        [&mut self.expand, &mut self.depthwise, &mut self.project].into_iter().chain(shortcut)
    }

    /// Its convolutions in order.
    pub fn units(&self) -> impl Iterator<Item = &Unit<F>> {
        let shortcut = match &self.shortcut {
            Shortcut::Unit(unit) => Some(&**unit),
            _ => None,
        };
        [&self.expand, &self.depthwise, &self.project].into_iter().chain(shortcut)
    }
}
