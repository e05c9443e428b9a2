//! Runs an flgc model on pictures or raw tensors.

fn main() -> std::process::ExitCode {
    flgc_run::run_main()
}
