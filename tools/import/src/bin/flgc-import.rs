//! `flgc-import IN.onnx -o OUT.flgc`: see `flgc-import --help`.

fn main() -> std::process::ExitCode {
    flgc_import::cli::main()
}
