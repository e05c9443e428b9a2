//! Plan and input to output, many times: a loop over steps that cannot fail.

mod threads;

use crate::plan::{Binding, Inner, Plan};
use flgc_kernels::{Arena, Team, with_denormals_flushed};
use std::{io, sync::Arc};

/// Why a run can't start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// Not one slice for each input, or for each output.
    #[error("{found} {what}, expected {expected}")]
    Count {
        /// Inputs or outputs.
        what: &'static str,
        /// How many were given.
        found: usize,
        /// How many the network has.
        expected: usize,
    },
    /// A slice has the wrong length.
    #[error("{what} {index}: {found} floats, expected {expected}")]
    Length {
        /// Input or output.
        what: &'static str,
        /// Its index.
        index: usize,
        /// Its length.
        found: usize,
        /// The number of elements of its shape.
        expected: usize,
    },
}

/// The memory of one run. Make one for each thread; nothing is allocated once it is made.
pub struct Session {
    plan: Arc<Inner>,
    arena: Arena,
    /// For the threads of the plan's pool.
    team: Option<Team>,
    outputs: Vec<Vec<f32>>,
}

impl Session {
    pub(crate) fn new(plan: &Plan) -> io::Result<Self> {
        let plan = Arc::clone(&plan.0);
        let arena = Arena::new(plan.arena_len)?;
        let outputs = plan.outputs.iter().map(|output| vec![0.0; output.len]).collect();
        let team = plan.pool.as_ref().map(|pool| Team::new(pool.current_num_threads()));
        Ok(Self { plan, arena, team, outputs })
    }

    /// Runs a network with one input and returns the first output, both row-major in their shapes ([`Plan::inputs`], [`Plan::outputs`]).
    ///
    /// # Errors
    /// If the network has several inputs, or `input` has the wrong length.
    pub fn run(&mut self, input: &[f32]) -> Result<&[f32], RunError> {
        check("inputs", "input", &[input], |input| input.len(), &self.plan.inputs)?;
        self.execute(&[input], |_| {});
        for (binding, output) in self.plan.outputs.iter().zip(&mut self.outputs) {
            binding.read(&self.arena, output);
        }
        Ok(&self.outputs[0])
    }

    /// Runs a network with any number of inputs and outputs, in the order of [`Plan::inputs`] and [`Plan::outputs`].
    ///
    /// # Errors
    /// If there is not one slice for each input and output, or one has the wrong length.
    pub fn run_with(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), RunError> {
        self.run_observed(inputs, outputs, |_| {})
    }

    /// As [`Session::run_with`], for measuring: calls `after` behind every step with the index of its layer in [`Report::layers`](crate::Report), or `None`
    /// behind those that prepare the inputs.
    ///
    /// # Errors
    /// As [`Session::run_with`].
    pub fn run_observed(
        &mut self,
        inputs: &[&[f32]],
        outputs: &mut [&mut [f32]],
        after: impl FnMut(Option<usize>) + Send,
    ) -> Result<(), RunError> {
        check("inputs", "input", inputs, |input| input.len(), &self.plan.inputs)?;
        check("outputs", "output", outputs, |output| output.len(), &self.plan.outputs)?;
        self.execute(inputs, after);
        for (binding, output) in self.plan.outputs.iter().zip(outputs) {
            binding.read(&self.arena, output);
        }
        Ok(())
    }

    fn execute(&mut self, inputs: &[&[f32]], mut after: impl FnMut(Option<usize>) + Send) {
        let Self { plan, arena, team, .. } = self;
        for (binding, input) in plan.inputs.iter().zip(inputs) {
            binding.write(arena, input);
        }
        let first = inputs.first().copied().unwrap_or_default();
        let mut steps = plan.steps.iter().peekable();
        let done = |set: usize| {
            while let Some(step) = steps.next_if(|step| step.end <= set + 1) {
                after(step.layer);
            }
        };
        match (&plan.pool, team) {
            (Some(pool), Some(team)) => {
                let run = team.run(&plan.sets, &plan.weights, arena, first);
                pool.install(|| threads::run(run, 1..pool.current_num_threads(), plan.flush_denormals, done));
            }
            _ if plan.flush_denormals => with_denormals_flushed(|| run(plan, arena, first, done)),
            _ => run(plan, arena, first, done),
        }
    }
}

fn run(plan: &Inner, arena: &mut Arena, input: &[f32], mut done: impl FnMut(usize)) {
    for (index, set) in plan.sets.iter().enumerate() {
        set.run(&plan.weights, arena, input);
        done(index);
    }
}

fn check<T>(
    what: &'static str,
    one: &'static str,
    slices: &[T],
    len: impl Fn(&T) -> usize,
    bindings: &[Binding],
) -> Result<(), RunError> {
    if slices.len() != bindings.len() {
        return Err(RunError::Count { what, found: slices.len(), expected: bindings.len() });
    }
    for (index, (slice, binding)) in slices.iter().zip(bindings).enumerate() {
        if len(slice) != binding.len {
            return Err(RunError::Length { what: one, index, found: len(slice), expected: binding.len });
        }
    }
    Ok(())
}

impl Binding {
    fn write(&self, arena: &mut Arena, mut input: &[f32]) {
        let arena = arena.as_mut_slice();
        for &(start, len) in &self.runs {
            let (run, rest) = input.split_at(len as usize);
            arena[start as usize..][..run.len()].copy_from_slice(run);
            input = rest;
        }
    }

    fn read(&self, arena: &Arena, mut output: &mut [f32]) {
        let arena = arena.as_slice();
        for &(start, len) in &self.runs {
            let (run, rest) = output.split_at_mut(len as usize);
            run.copy_from_slice(&arena[start as usize..][..len as usize]);
            output = rest;
        }
    }
}
