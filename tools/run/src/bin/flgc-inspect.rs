//! Shows what an flgc model consists of and how it would run here.

fn main() -> std::process::ExitCode {
    flgc_run::inspect_main()
}
