//! Trains a network with learned channel groups.

fn main() -> std::process::ExitCode {
    flgc_train::cli::main()
}
