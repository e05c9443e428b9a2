//! `flgc-bench MODEL`: see `flgc-bench --help`.

use flgc_kernels::measure::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> std::process::ExitCode {
    flgc_run::bench_main()
}
