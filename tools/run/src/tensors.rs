//! Raw tensors in and out: `flgc-run MODEL --tensor [NAME=]x.npy --output [NAME=]y.npy`.

use crate::{
    classify::find_output,
    cli::RunArgs,
    npy::{self, Array},
    status::{Status, Stop},
};
use flgc::{Model, Options, Plan, PlanError, Port, Threads};
use std::path::{Path, PathBuf};

/// Runs once on the tensors of `args` and writes the outputs that it names.
///
/// # Errors
/// If the arguments or the model can't be used, a tensor can't be read or has a shape that the model does not take, or an output can't be written.
pub fn run(args: &RunArgs, model: Model, mut options: Options) -> Result<Status, Stop> {
    let names: Vec<&str> = model.graph().inputs.iter().map(|input| input.name.as_str()).collect();
    let files = input_files(&args.tensor, &names)?;
    let arrays = files.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    options.input_shapes =
        names.iter().zip(&arrays).map(|(&name, array)| (name.to_owned(), array.shape.clone())).collect();
    options.threads = Threads::Count(args.threads);
    let plan = Plan::new(&model, &options).map_err(|error| match error {
        // The tensors' shapes are what is wrong; the model may be right.
        PlanError::InputShape { .. } | PlanError::Model(_) => Stop::InputFailed(error.to_string()),
        _ => error.into(),
    })?;
    drop(model);
    let targets = targets(args, &plan)?;
    let mut session = plan.try_session()?;
    let inputs: Vec<&[f32]> = arrays.iter().map(|array| array.data.as_slice()).collect();
    let mut data: Vec<Vec<f32>> = plan.outputs().iter().map(|port| vec![0.0; port.shape.iter().product()]).collect();
    let mut outputs: Vec<&mut [f32]> = data.iter_mut().map(Vec::as_mut_slice).collect();
    session.run_with(&inputs, &mut outputs).map_err(|error| Stop::InputFailed(error.to_string()))?;
    for (path, index) in targets {
        let Port { shape, .. } = &plan.outputs()[index];
        npy::write(&path, shape, &data[index]).map_err(|error| Stop::output(path.display(), &error))?;
    }
    Ok(Status::Done)
}

fn read(path: &Path) -> Result<Array, Stop> {
    npy::read(path).map_err(|error| Stop::InputFailed(format!("{}: {error}", path.display())))
}

/// The file of each input, in the order of `names`.
fn input_files(args: &[PathBuf], names: &[&str]) -> Result<Vec<PathBuf>, Stop> {
    let mut files: Vec<Option<PathBuf>> = vec![None; names.len()];
    for arg in args {
        let (index, path) = split(arg, names, "--tensor", None)?;
        if files[index].replace(path).is_some() {
            return Err(Stop::Unusable(format!(
                "--tensor: found a second one for input {:?}, expected one",
                names[index]
            )));
        }
    }
    let missing = |index: usize| {
        Stop::Unusable(format!(
            "--tensor: found none for input {:?}, expected {:?}=FILE.npy",
            names[index], names[index]
        ))
    };
    files.into_iter().enumerate().map(|(index, file)| file.ok_or_else(|| missing(index))).collect()
}

/// Where to write which outputs.
fn targets(args: &RunArgs, plan: &Plan) -> Result<Vec<(PathBuf, usize)>, Stop> {
    let names: Vec<&str> = plan.outputs().iter().map(|port| port.name.as_str()).collect();
    let default = args.output_name.as_deref().map(|name| find_output(plan, name)).transpose()?;
    let targets =
        args.output.iter().map(|arg| split(arg, &names, "--output", default).map(|(index, path)| (path, index)));
    targets.collect()
}

/// Splits `NAME=PATH`; without a name it is the `default`, or the only one.
fn split(arg: &Path, names: &[&str], option: &str, default: Option<usize>) -> Result<(usize, PathBuf), Stop> {
    // Names and paths may both contain `=`: the longest name that fits is meant.
    let fits = |&(index, name): &(usize, &&str)| after(arg, name).map(|path| (name.len(), index, path));
    if let Some((_, index, path)) =
        names.iter().enumerate().filter_map(|pair| fits(&pair)).max_by_key(|&(length, ..)| length)
    {
        return Ok((index, path));
    }
    let expected = || format!("[NAME=]FILE.npy with one of the names {names:?}");
    match default.or((names.len() == 1).then_some(0)) {
        Some(index) if !arg.as_os_str().as_encoded_bytes().contains(&b'=') || arg.exists() => {
            Ok((index, arg.to_owned()))
        }
        _ => Err(Stop::Unusable(format!("{option}: found {:?}, expected {}", arg.display(), expected()))),
    }
}

/// The path after `name` and `=`.
#[cfg(unix)]
fn after(arg: &Path, name: &str) -> Option<PathBuf> {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let path = arg.as_os_str().as_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
    Some(OsStr::from_bytes(path).into())
}

/// The path after `name` and `=`.
#[cfg(not(unix))]
fn after(arg: &Path, name: &str) -> Option<PathBuf> {
    Some(arg.to_str()?.strip_prefix(name)?.strip_prefix('=')?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths() {
        let one = ["x"];
        let two = ["x", "x=y"];
        let split = |arg: &str, names: &[&str], default| split(Path::new(arg), names, "--tensor", default).ok();
        assert_eq!(split("f.npy", &one, None), Some((0, "f.npy".into())));
        assert_eq!(split("x=f.npy", &one, None), Some((0, "f.npy".into())));
        assert_eq!(split("x=a=b.npy", &one, None), Some((0, "a=b.npy".into())));
        assert_eq!(split("z=f.npy", &one, None), None);
        assert_eq!(split("x=y=f.npy", &two, None), Some((1, "f.npy".into())));
        assert_eq!(split("f.npy", &two, None), None);
        assert_eq!(split("f.npy", &two, Some(1)), Some((1, "f.npy".into())));
    }

    #[test]
    fn every_input_has_one_file() {
        let files = |args: &[&str]| input_files(&args.iter().map(PathBuf::from).collect::<Vec<_>>(), &["a", "b"]);
        assert_eq!(files(&["b=1", "a=2"]), Ok(vec!["2".into(), "1".into()]));
        assert!(files(&["a=1"]).is_err());
        assert!(files(&["a=1", "a=2", "b=3"]).is_err());
    }
}
