//! Pictures to scores, and to the answers of `flgc-run MODEL INPUT...`.

use crate::{
    answers::Answers,
    batch, cli,
    cli::RunArgs,
    inputs::{self, Input},
    picture::Preparer,
    status::{Status, Stop, note},
};
use flgc::{Model, Options, Plan, Session, Threads};
use rayon::ThreadPool;
use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

/// A plan that takes a picture and gives a score for each class.
pub struct Classifier {
    plan: Plan,
    preparer: Preparer,
    /// Index of the output with the scores.
    output: usize,
    memory_limit: u64,
}

impl Classifier {
    /// Plans `model` for one picture. `output` names the output with the scores; the first by default.
    ///
    /// # Errors
    /// If the model takes no picture, gives no scores, or can't be planned.
    pub fn new(model: Model, mut options: Options, output: Option<&str>) -> Result<Self, Stop> {
        let inputs = &model.graph().inputs;
        let [input] = inputs.as_slice() else {
            let text = format!("the model: found {} inputs, expected one for pictures; use --tensor", inputs.len());
            return Err(Stop::Unusable(text));
        };
        let Some(image) = &input.image else {
            let text = format!(
                "input {:?}: found no \"image\" that says how pictures become floats; use --tensor",
                input.name
            );
            return Err(Stop::Unusable(text));
        };
        let mut shape = input.shape.clone();
        // A batch of one, whatever the default.
        shape[0] = 1;
        options.input_shapes.insert(input.name.clone(), shape);
        let plan = Plan::new(&model, &options)?;
        let &[_, _, height, width] = plan.inputs()[0].shape.as_slice() else {
            return Err(Stop::Unusable(format!(
                "input {:?}: found shape {:?}, expected [1, c, h, w]",
                input.name, input.shape
            )));
        };
        let Some(preparer) = Preparer::new(image, height, width) else {
            return Err(Stop::Unusable(format!(
                "input {:?}: found {height}x{width} pixels, more than pictures have",
                input.name
            )));
        };
        let output = match output {
            Some(name) => find_output(&plan, name)?,
            None => 0,
        };
        let port = &plan.outputs()[output];
        if port.shape.iter().filter(|&&dim| dim != 1).count() > 1 {
            let text = format!(
                "output {:?}: found shape {:?}, expected one score for each class; use --tensor",
                port.name, port.shape
            );
            return Err(Stop::Unusable(text));
        }
        Ok(Self { plan, preparer, output, memory_limit: options.memory_limit })
    }

    /// The name of each class; empty if the model has none, or none for this output.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        if self.output == 0 { self.plan.labels() } else { &[] }
    }

    /// Somebody to work for each of `threads` threads, and the threads if they are more than the caller's.
    ///
    /// # Errors
    /// If there is not the memory, or not the threads.
    pub fn team(&self, threads: NonZeroUsize) -> Result<Team<'_>, Stop> {
        let memory = self.plan.report().memory;
        let needed = memory.arena.saturating_mul(threads.get() as u64).saturating_add(memory.weights);
        if needed > self.memory_limit {
            let limit = self.memory_limit;
            let text = format!(
                "--threads {threads}: found a need of {needed} bytes, expected at most {limit}; raise --memory-limit"
            );
            return Err(Stop::Unusable(text));
        }
        let pool = match threads.get() {
            1 => None,
            count => {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build();
                Some(pool.map_err(|error| Stop::Unusable(format!("--threads {threads}: {error}")))?)
            }
        };
        let workers = (0..threads.get()).map(|_| self.worker()).collect::<Result<_, _>>()?;
        Ok(Team { pool, workers })
    }

    fn worker(&self) -> Result<Worker<'_>, Stop> {
        let outputs = self.plan.outputs().iter().map(|port| vec![0.0; port.shape.iter().product()]).collect();
        Ok(Worker { classifier: self, session: self.plan.try_session()?, input: Vec::new(), outputs })
    }
}

/// The index of the output called `name`.
pub(crate) fn find_output(plan: &Plan, name: &str) -> Result<usize, Stop> {
    let outputs = plan.outputs();
    outputs.iter().position(|port| port.name == name).ok_or_else(|| {
        let names: Vec<&str> = outputs.iter().map(|port| port.name.as_str()).collect();
        Stop::Unusable(format!("--output-name: found {name:?}, expected one of {names:?}"))
    })
}

/// Workers, one for each thread.
pub struct Team<'a> {
    pool: Option<ThreadPool>,
    workers: Vec<Worker<'a>>,
}

/// What became of an input.
pub struct Answer<T> {
    /// Its path, or the place that could not be read.
    pub path: PathBuf,
    /// What was made of it, or why nothing.
    pub result: Result<T, String>,
}

impl Team<'_> {
    /// Scores each input, makes something of the scores and of what came with the input, and hands that to `sink`, in the order of the inputs.
    ///
    /// # Errors
    /// The first of `sink`.
    pub fn scores<T: Send, R: Send>(
        &mut self,
        inputs: impl Iterator<Item = (Input, T)>,
        make: impl Fn(Scores<'_>, T) -> R + Sync,
        sink: impl FnMut(Answer<R>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let work = |worker: &mut Worker<'_>, (input, extra): (Input, T)| match input {
            Ok(path) => {
                let result = worker.scores(&path).map(|scores| make(scores, extra));
                Answer { path, result }
            }
            Err(error) => Answer { path: error.path, result: Err(error.message) },
        };
        batch::in_order(self.pool.as_ref(), &mut self.workers, inputs, work, sink)
    }
}

/// One session with its buffers.
struct Worker<'a> {
    classifier: &'a Classifier,
    session: Session,
    input: Vec<f32>,
    outputs: Vec<Vec<f32>>,
}

impl Worker<'_> {
    fn scores(&mut self, path: &Path) -> Result<Scores<'_>, String> {
        let Classifier { plan, preparer, output, .. } = self.classifier;
        preparer.prepare(path, &mut self.input).map_err(|error| error.to_string())?;
        let mut outputs: Vec<&mut [f32]> = self.outputs.iter_mut().map(Vec::as_mut_slice).collect();
        self.session.run_with(&[&self.input], &mut outputs).map_err(|error| error.to_string())?;
        let port = &plan.outputs()[*output];
        let scores = &self.outputs[*output];
        match scores.iter().find(|score| !score.is_finite()) {
            Some(score) => Err(format!("output {:?}: found {score}, expected finite scores", port.name)),
            None => Ok(Scores { scores, is_softmax: port.is_softmax }),
        }
    }
}

/// The finite scores of one picture.
#[derive(Clone, Copy, Debug)]
pub struct Scores<'a> {
    scores: &'a [f32],
    is_softmax: bool,
}

/// A class with its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// Its index.
    pub index: usize,
    /// From 0 to 1.
    pub probability: f32,
}

impl Scores<'_> {
    /// The `count` best classes, best first; of equal ones the first first.
    #[must_use]
    pub fn top(self, count: usize) -> Vec<Ranked> {
        let mut order: Vec<usize> = (0..self.scores.len()).collect();
        order.sort_by(|&a, &b| self.scores[b].total_cmp(&self.scores[a]));
        order.truncate(count);
        let best = f64::from(self.scores[order[0]]);
        let exp = |score: f32| (f64::from(score) - best).exp();
        let sum: f64 = self.scores.iter().map(|&score| exp(score)).sum();
        let probability = |score: f32| if self.is_softmax { score } else { (exp(score) / sum) as f32 };
        order.into_iter().map(|index| Ranked { index, probability: probability(self.scores[index]) }).collect()
    }

    /// How many classes are better than class `index`, in the order of [`Scores::top`].
    #[must_use]
    pub fn rank(self, index: usize) -> usize {
        let score = self.scores[index];
        let better =
            |(other, &s): (usize, &f32)| s.total_cmp(&score).is_gt() || s.total_cmp(&score).is_eq() && other < index;
        self.scores.iter().enumerate().filter(|&pair| better(pair)).count()
    }
}

/// `flgc-run MODEL INPUT...`
///
/// # Errors
/// If the model can't be used or the answers can't be written.
pub fn run(args: &RunArgs, model: Model, mut options: Options) -> Result<Status, Stop> {
    const TOP: usize = 5;
    let is_single = matches!(args.inputs.as_slice(), [path] if path.as_os_str() != "-" && !path.is_dir());
    let mut workers = args.threads;
    if is_single {
        // Nothing to spread: the threads work on the one picture.
        options.threads = Threads::Count(args.threads);
        workers = NonZeroUsize::MIN;
    }
    let classifier = Classifier::new(model, options, args.output_name.as_deref())?;
    let is_table = is_single || args.top_k.is_some();
    let mut answers = Answers::new(args.format, is_table, classifier.labels());
    let mut team = classifier.team(workers)?;
    let top = args.top_k.map_or(TOP, NonZeroUsize::get);
    let mut status = Status::Done;
    let sink = |Answer { path, result }: Answer<Vec<Ranked>>| {
        if let Err(message) = &result {
            note(cli::RUN, format_args!("{}: {message}", path.display()));
            status = Status::SomeFailed;
        }
        answers.write(&path, result.as_deref().map_err(String::as_str))
    };
    let inputs = inputs::inputs(&args.inputs).map(|input| (input, ()));
    match team.scores(inputs, |scores, ()| scores.top(top), sink) {
        Ok(()) | Err(Stop::OutputClosed) => Ok(status),
        Err(stop) => Err(stop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_and_probabilities() {
        let scores = Scores { scores: &[1.0, 3.0, 3.0, -1000.0], is_softmax: false };
        let top = scores.top(10);
        assert_eq!(top.iter().map(|class| class.index).collect::<Vec<_>>(), [1, 2, 0, 3]);
        assert!((top.iter().map(|class| class.probability).sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(top[0].probability, top[1].probability);
        assert_eq!((0..4).map(|index| scores.rank(index)).collect::<Vec<_>>(), [2, 0, 1, 3]);
        assert_eq!(scores.top(1).len(), 1);
        let huge = Scores { scores: &[f32::MAX, f32::MIN], is_softmax: false };
        assert_eq!(huge.top(2).iter().map(|class| class.probability).collect::<Vec<_>>(), [1.0, 0.0]);
        let done = Scores { scores: &[0.25, 0.75], is_softmax: true };
        assert_eq!(done.top(1), [Ranked { index: 1, probability: 0.75 }]);
    }
}
