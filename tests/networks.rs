//! Whole networks with random weights: what the plan promises of their structure, and what a run promises of its bits and its memory.

use flgc::{
    Isa, Model, Options, Plan, Threads, Tune, Tuning,
    model::{
        DType, Tensor,
        graph::{self, Graph},
    },
    plan::Caches,
};
use flgc_benches::{
    Groups, condensenet, densenet, mobilenet_v2, mobilenet_v3_block, resnet50, resnext50, shufflenet_v1, shufflenet_v2,
};
use std::{num::NonZeroUsize, sync::Arc, time::Duration};

mod common;

#[global_allocator]
static ALLOCATOR: common::Counting = common::Counting;

/// Dense 3x3 convolutions that are wide enough for Winograd's method, one with a residual.
fn wide_3x3() -> Model {
    let (mut b, x) = flgc_benches::Builder::new(3, 1, [3, 23, 31]);
    let x = b.conv(&x, 40, 3, 1, Groups::Even(1));
    let x = b.relu(&x);
    let y = b.conv(&x, 48, 3, 1, Groups::Even(1));
    let y = b.relu6(&y);
    let y = b.conv(&y, 40, 3, 1, Groups::Learned(2));
    let y = b.add(&y, &x);
    let y = b.relu(&y);
    let y = b.conv(&y, 10, 3, 2, Groups::Even(1));
    b.finish(&[&y])
}

/// Expansions before depthwise layers with a channel for each filter, with several filters for each channel, and with filters that lead nowhere.
fn expansions() -> Model {
    let (mut b, x) = flgc_benches::Builder::new(4, 2, [6, 37, 45]);
    let y = b.conv(&x, 21, 1, 1, Groups::Learned(3));
    let y = b.relu6(&y);
    let y = b.depthwise(&y, 3, 2);
    let y = b.conv(&y, 10, 1, 1, Groups::Learned(2));
    let z = b.conv(&y, 20, 1, 1, Groups::Even(2));
    let z = b.relu(&z);
    let z = b.conv(&z, 40, 3, 2, Groups::Even(20));
    let z = b.relu6(&z);
    let z = b.conv(&z, 9, 1, 1, Groups::Even(1));
    let (z, _) = b.split(&z, 4);
    b.finish(&[&z])
}

/// Small versions of every kind of network that the plan makes promises for.
fn networks() -> Vec<(&'static str, Model)> {
    vec![
        ("mobilenet v2, dense", mobilenet_v2(64, Groups::Even(1))),
        ("mobilenet v2, equal groups", mobilenet_v2(64, Groups::Even(8))),
        ("mobilenet v2, 3 learned groups", mobilenet_v2(64, Groups::Learned(3))),
        ("mobilenet v2, 8 learned groups", mobilenet_v2(96, Groups::Learned(8))),
        ("mobilenet v3 block, learned groups", mobilenet_v3_block(14, Groups::Learned(4))),
        ("shufflenet v1", shufflenet_v1(64)),
        ("shufflenet v2", shufflenet_v2(64)),
        ("resnext", resnext50(32)),
        ("resnet, learned groups", resnet50(32, Groups::Learned(8))),
        ("condensenet", condensenet(32)),
        ("densenet", densenet(32)),
        ("dense 3x3", wide_3x3()),
        ("expansions", expansions()),
    ]
}

fn input(plan: &Plan) -> Vec<f32> {
    let len: usize = plan.inputs()[0].shape.iter().product();
    (0..len).map(|i| ((i * 37 % 255) as f32 - 127.0) / 64.0).collect()
}

fn run(plan: &Plan) -> Vec<f32> {
    plan.session().run(&input(plan)).unwrap().to_vec()
}

#[test]
fn no_step_only_moves_data() {
    for (name, model) in networks() {
        let plan = Plan::new(&model, &Options::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let report = plan.report();
        let moving: Vec<&str> =
            report.layers.iter().filter(|layer| layer.moves_data).map(|layer| &layer.name[..]).collect();
        assert_eq!((report.moves, moving), (0, Vec::new()), "{name}");
        for layer in &report.layers {
            let computes = [
                "conv",
                "linear",
                "add",
                "multiply",
                "batch_norm",
                "max_pool",
                "average_pool",
                "global_average_pool",
                "relu",
            ];
            assert!(computes.contains(&layer.op), "{name}: {:?} is a step of its own ({})", layer.name, layer.op);
        }
    }
}

#[test]
fn batch_norm_activations_and_residuals_leave_no_step() {
    let steps = |model: &Model| {
        let plan = Plan::new(model, &Options::default()).unwrap();
        plan.report().layers.iter().map(|layer| layer.op).collect::<Vec<_>>()
    };
    let count = |ops: &[&str], op: &str| ops.iter().filter(|&&o| o == op).count();
    for model in [mobilenet_v2(64, Groups::Learned(8)), resnet50(32, Groups::Even(1)), shufflenet_v2(64)] {
        let ops = steps(&model);
        for folded in ["add", "relu", "relu6", "batch_norm"] {
            assert_eq!(count(&ops, folded), 0, "{folded} in {ops:?}");
        }
    }
    // Where a batch norm stands before its convolution it stays, but takes the activation with it.
    let ops = steps(&densenet(32));
    assert!(count(&ops, "batch_norm") > 0 && count(&ops, "relu") == 0, "{ops:?}");
}

#[test]
fn each_group_reads_contiguous_channels() {
    let model = mobilenet_v2(64, Groups::Learned(8));
    let plan = Plan::new(&model, &Options::default()).unwrap();
    let layers = &plan.report().layers;
    let group_of = |name: &str| {
        let node = model.graph().nodes.iter().find(|node| node.name == name).unwrap();
        let flgc::model::graph::Op::Conv(conv) = &node.op else { panic!("{name} is no convolution") };
        model.tensor(&conv.learned.as_ref().unwrap().in_group).unwrap().indices()
    };
    let mut checked = 0;
    for pair in layers.windows(2) {
        let [before, after] = pair else { unreachable!("windows of two") };
        if after.op != "conv" || after.kernel.contains("depthwise") || after.groups.len() != 8 {
            continue;
        }
        // A block's output also goes to the residual: only the expanded tensors have one reader.
        if !before.kernel.contains("depthwise") {
            continue;
        }
        let groups = group_of(&after.name);
        let in_slots: Vec<u16> = before.order.iter().map(|&channel| groups[channel as usize]).collect();
        let mut sorted = in_slots.clone();
        sorted.sort_unstable();
        assert_eq!(in_slots, sorted, "{} reads {}", after.name, before.name);
        checked += 1;
    }
    assert!(checked >= 16, "{checked} layers checked");
}

#[test]
fn channels_that_nobody_reads_are_not_computed() {
    let (mut b, x) = flgc_benches::Builder::new(9, 1, [8, 6, 6]);
    let y = b.conv(&x, 16, 1, 1, Groups::Even(1));
    let (kept, dropped) = b.split(&y, 5);
    let z = b.conv(&kept, 4, 3, 1, Groups::Even(1));
    let unused = b.relu(&dropped);
    let _ = b.relu(&unused);
    let model = b.finish(&[&z]);
    let plan = Plan::new(&model, &Options::default()).unwrap();
    let layers = &plan.report().layers;
    assert_eq!(layers[0].order.len(), 5);
    let idle: Vec<&str> = layers.iter().filter(|layer| layer.kernel == "none").map(|layer| layer.op).collect();
    assert_eq!(idle, ["relu", "relu"]);
    assert_eq!(plan.report().steps, 2);

    let (mut b, x) = flgc_benches::Builder::new(9, 1, [8, 6, 6]);
    let y = b.conv(&x, 16, 1, 1, Groups::Even(1));
    let z = b.split(&y, 5).0;
    let model = b.finish(&[&y, &z]);
    let plan = Plan::new(&model, &Options::default()).unwrap();
    assert_eq!(plan.report().layers[0].order.len(), 16, "a declared output is whole");
}

#[test]
fn the_bits_do_not_depend_on_threads_nor_on_the_session() {
    for isa in Isa::available() {
        for (name, model) in networks() {
            let options = Options { isa: Some(isa), ..Options::default() };
            let plan = Plan::new(&model, &options).unwrap();
            let one = run(&plan);
            assert!(one == run(&plan), "{name}, {isa}: another session");
            let mut session = plan.session();
            let other: Vec<f32> = input(&plan).iter().map(|x| 1.0 - x).collect();
            session.run(&other).unwrap();
            assert!(one == session.run(&input(&plan)).unwrap(), "{name}, {isa}: after another input");
            for threads in [2, 3] {
                let threads = Threads::Count(NonZeroUsize::new(threads).unwrap());
                let plan = Plan::new(&model, &Options { threads: threads.clone(), ..options.clone() }).unwrap();
                assert!(one == run(&plan), "{name}, {isa}, {threads:?}");
            }
        }
    }
}

#[test]
fn the_bits_do_not_depend_on_fusion() {
    for isa in Isa::available() {
        let odd = ("mobilenet v2, odd sizes", mobilenet_v2(75, Groups::Learned(8)));
        for (name, model) in networks().into_iter().chain([odd]) {
            let options = Options { isa: Some(isa), ..Options::default() };
            let one = run(&Plan::new(&model, &Options { fuse: false, ..options.clone() }).unwrap());
            let mut fused = 0;
            // From bands as low as they get to whole planes.
            for [l1, l2] in [[1 << 9, 1 << 10], [4 << 10, 16 << 10], [8 << 10, 64 << 10], [16 << 10, 256 << 10]] {
                for threads in 1..=4 {
                    let threads = Threads::Count(NonZeroUsize::new(threads).unwrap());
                    let caches = Some(Caches { l1, l2, last: l2 });
                    let plan = Plan::new(&model, &Options { caches, threads: threads.clone(), ..options.clone() });
                    let plan = plan.unwrap_or_else(|error| panic!("{name}, {isa}, {threads:?}, {caches:?}: {error}"));
                    assert!(one == run(&plan), "{name}, {isa}, {threads:?}, caches of {l1} and {l2} bytes");
                    fused += plan.report().layers.iter().filter(|layer| layer.fused_with_next).count();
                }
            }
            let fusable = ["mobilenet v2", "shufflenet", "expansions"].iter().any(|start| name.starts_with(start));
            assert_eq!(fused > 0, fusable, "{name}: {fused} layers were fused");
        }
    }
}

#[test]
fn stems_run_in_bands_whatever_their_windows() {
    let mut in_bands = 0;
    for (stem, stride, k, then) in
        [(3, 2, 3, 1), (3, 2, 5, 1), (3, 2, 7, 1), (3, 2, 5, 2), (7, 2, 3, 2), (5, 3, 3, 1), (3, 2, 1, 2)]
    {
        for groups in [Groups::Even(1), Groups::Learned(2)] {
            let (mut b, x) = flgc_benches::Builder::new(5, 2, [4, 51, 75]);
            let x = b.conv(&x, 29, stem, stride, groups);
            let x = b.relu6(&x);
            let x = b.depthwise(&x, k, then);
            let x = b.relu(&x);
            let x = b.conv(&x, 9, 1, 1, Groups::Learned(3));
            let model = b.finish(&[&x]);
            for isa in Isa::available() {
                let plan = |fuse, l2, threads| {
                    let caches = Some(Caches { l1: l2 / 2, l2, last: l2 });
                    let threads = Threads::Count(NonZeroUsize::new(threads).unwrap());
                    let options = Options { isa: Some(isa), fuse, caches, threads, ..Options::default() };
                    let what = format!("{isa}: {stem}x{stem} / {stride}, {k}x{k} / {then}, {groups:?}, {l2} bytes");
                    (Plan::new(&model, &options).unwrap_or_else(|error| panic!("{what}: {error}")), what)
                };
                let apart = run(&plan(false, 1024, 1).0);
                for l2 in [1 << 10, 8 << 10, 16 << 10, 24 << 10, 48 << 10] {
                    for threads in [1, 2] {
                        let (plan, what) = plan(true, l2, threads);
                        assert!(run(&plan) == apart, "{what}");
                        in_bands += usize::from(plan.report().layers[0].fused_with_next);
                    }
                }
            }
        }
    }
    assert!(in_bands > 50, "{in_bands}");
}

#[test]
fn the_bits_do_not_depend_on_tuning() {
    for isa in Isa::available() {
        for (name, model) in networks() {
            let options = Options { isa: Some(isa), ..Options::default() };
            let tuned = |tune| Plan::new(&model, &Options { tune, ..options.clone() }).unwrap();
            let rules = tuned(Tune::Rules);
            let one = run(&rules);
            let measured = tuned(Tune::Measure(Duration::from_millis(100)));
            assert!(one == run(&measured), "{name}, {isa}: measured");
            // Each choice the other way round, blocks from a few pixels to whole planes.
            let text = rules.tuning().to_string();
            let flipped = text.replace("false", "other").replace("true", "false").replace("other", "true");
            let blocks = |size: &str| flipped.replace("65536", size).replace("32768", size).parse::<Tuning>().unwrap();
            for size in ["0", "1000", "18446744073709551615"] {
                let plan = tuned(Tune::Given(blocks(size)));
                assert!(one == run(&plan), "{name}, {isa}: {}", plan.tuning());
            }
            for plan in [&rules, &measured] {
                let again = tuned(Tune::Given(plan.tuning().to_string().parse().unwrap()));
                assert_eq!(again.tuning(), plan.tuning(), "{name}");
                assert_eq!(again.report().memory, plan.report().memory, "{name}");
            }
        }
    }
}

/// A group with tiles for panels beside one whose tiles are too small for them, but for those that a thread has.
#[test]
fn the_bits_do_not_depend_on_panels_of_uneven_groups() {
    let channels = [16, 64];
    // Tiles of six, and of twelve over whole vectors of sixteen pixels.
    let sizes = [([12, 13], 14), ([24, 26], 16)];
    let isas = Isa::ALL.into_iter().filter(|isa| isa.is_available());
    for (isa, (filters, size), stride) in
        isas.flat_map(|isa| sizes.map(|of| (isa, of))).flat_map(|(isa, of)| [1, 2].map(|stride| (isa, of, stride)))
    {
        let weights: usize = channels.iter().zip(filters).map(|(c, f)| c * f).sum();
        let conv = graph::Conv {
            filters: filters.iter().sum(),
            kernel: [1, 1],
            stride: [stride; 2],
            pad: [0; 4],
            dilation: [1, 1],
            groups: 1,
            learned: Some(graph::Learned { groups: 2, in_group: "in".into(), out_group: "out".into() }),
            weight: "weight".into(),
            bias: None,
        };
        let shape = vec![1, 80, size * stride, size * stride];
        let input = graph::Input { name: "x".into(), shape, range: Vec::new(), image: None };
        let node = graph::Node {
            name: "y".into(),
            op: graph::Op::Conv(conv.into()),
            inputs: vec!["x".into()],
            outputs: vec!["y".into()],
        };
        let graph = Graph { inputs: vec![input], nodes: vec![node], outputs: vec!["y".into()], labels: Vec::new() };
        let of = |sizes: [usize; 2]| Tensor::groups(2, &[vec![0u16; sizes[0]], vec![1; sizes[1]]].concat());
        let values: Vec<f32> = (0..weights).map(|i| (i % 23) as f32 / 23.0 - 0.4).collect();
        let weight = Tensor::floats(DType::F32, &[weights], &values);
        let tensors = [("in", of(channels)), ("out", of(filters)), ("weight", weight)];
        let tensors = tensors.map(|(name, tensor)| (name.to_owned(), tensor)).into();
        let model = Model::new(&graph, &tensors).unwrap();
        let options = Options { isa: Some(isa), ..Options::default() };
        let rules = Plan::new(&model, &options).unwrap();
        let one = run(&rules);
        let tuning: Tuning = rules.tuning().to_string().replace("false", "true").parse().unwrap();
        for threads in 1..=4 {
            let threads = Threads::Count(NonZeroUsize::new(threads).unwrap());
            let tune = Tune::Given(tuning.clone());
            let plan = Plan::new(&model, &Options { tune, threads: threads.clone(), ..options.clone() });
            let plan =
                plan.unwrap_or_else(|error| panic!("{isa:?}, {filters:?}, stride {stride}, {threads:?}: {error}"));
            assert!(one == run(&plan), "{isa:?}, {filters:?}, stride {stride}, {threads:?}");
        }
    }
}

/// On small networks of every kind and on the shipped models.
#[test]
fn the_bits_do_not_depend_on_any_of_these_together() {
    let shipped = ["cifar10-mobilenetv2-flgc8", "cifar10-reference"]
        .map(|name| (name, Model::open(format!("models/{name}.flgc")).unwrap()));
    for (name, model) in networks().into_iter().chain(shipped) {
        for isa in Isa::available() {
            let base = Options { isa: Some(isa), ..Options::default() };
            let one = run(&Plan::new(&model, &Options { fuse: false, ..base.clone() }).unwrap());
            // Each choice the other way round, and whatever can run together.
            let text = Plan::new(&model, &base).unwrap().tuning().to_string();
            let flipped = text.replace("false", "other").replace("true", "false").replace("other", "true");
            let flipped: Tuning = flipped.replace("65536", "1000").replace("32768", "1000").parse().unwrap();
            let together: Tuning = text.replace("false", "true").parse().unwrap();
            let small = Some(Caches { l1: 8 << 10, l2: 64 << 10, last: 64 << 10 });
            for (fuse, caches) in [(false, None), (true, None), (true, small)] {
                for tune in [Tune::Rules, Tune::Given(flipped.clone()), Tune::Given(together.clone())] {
                    for threads in 1..=4 {
                        let threads = Threads::Count(NonZeroUsize::new(threads).unwrap());
                        let options = Options { fuse, caches, tune: tune.clone(), threads, ..base.clone() };
                        let plan = Plan::new(&model, &options).unwrap_or_else(|e| panic!("{name}, {options:?}: {e}"));
                        assert!(one == run(&plan), "{name}, {options:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn tunings_of_other_networks_and_other_texts_are_refused() {
    let plan = |model: &Model, tune| Plan::new(model, &Options { tune, ..Options::default() });
    let (model, other) = (mobilenet_v2(64, Groups::Learned(8)), &shufflenet_v2(64));
    let tuning = plan(&model, Tune::Rules).unwrap().tuning().clone();
    let error = plan(other, Tune::Given(tuning.clone())).err().unwrap().to_string();
    assert!(error.contains("which this network does not have"), "{error}");
    for text in ["", "{}", "[]", "{\"layers\": {\"a\": {\"block\": -1}}}", "{\"layers\": {}, \"more\": 1}"] {
        assert!(text.parse::<Tuning>().is_err(), "{text}");
    }
    // No time: by rule.
    assert_eq!(*plan(&model, Tune::Measure(Duration::ZERO)).unwrap().tuning(), tuning);
}

#[test]
fn fused_layers_take_less_memory() {
    let model = mobilenet_v2(224, Groups::Learned(8));
    let caches = Some(Caches::default());
    let [fused, apart] =
        [true, false].map(|fuse| Plan::new(&model, &Options { fuse, caches, ..Options::default() }).unwrap());
    let arena = |plan: &Plan| plan.report().memory.arena;
    assert!(arena(&fused) * 3 < arena(&apart) * 2, "{} bytes fused, {} apart", arena(&fused), arena(&apart));
    // The stem and the first block, and the second one.
    let with_next: Vec<bool> = fused.report().layers[..6].iter().map(|layer| layer.fused_with_next).collect();
    assert_eq!(with_next, [true, true, false, true, true, false]);
}

#[test]
fn bands_depend_on_the_caches() {
    let model = mobilenet_v2(224, Groups::Learned(8));
    let blocks = |isa, last| {
        let caches = Some(Caches { last, ..Caches::default() });
        let plan = Plan::new(&model, &Options { isa: Some(isa), caches, ..Options::default() }).unwrap();
        plan.report().layers.iter().filter(|layer| layer.fused_with_next).count() / 2
    };
    for isa in Isa::available() {
        // Half of 512 KiB holds the planes of the last three blocks, of 7x7 pixels.
        assert_eq!(blocks(isa, 512 << 10), 14, "{isa}");
        // Half of 8 MiB holds those of all but the one with stride at 112x112, which wide vectors go through too fast for that.
        assert_eq!(blocks(isa, 8 << 20), if isa == Isa::Avx512 { 14 } else { 1 }, "{isa}");
    }
}

#[test]
fn winograds_method_rounds_otherwise_and_takes_more_memory() {
    let model = wide_3x3();
    let plan = |winograd| Plan::new(&model, &Options { winograd, ..Options::default() }).unwrap();
    let layers = |plan: &Plan| plan.report().layers.iter().filter(|layer| layer.kernel.contains("winograd")).count();
    let (with, without) = (plan(true), plan(false));
    assert_eq!((layers(&with), layers(&without)), (2, 0));
    let (a, b) = (run(&with), run(&without));
    let largest = b.iter().fold(0f32, |max, x| max.max(x.abs()));
    let difference = a.iter().zip(&b).fold(0f32, |max, (a, b)| max.max((a - b).abs()));
    assert!(difference > 0.0 && difference < 1e-5 * largest, "{difference}, outputs reach {largest}");
    let weights = |plan: &Plan| plan.report().memory.weights;
    assert!(weights(&with) > 3 * weights(&without), "{} and {} bytes", weights(&with), weights(&without));

    let needed = weights(&with) + with.report().memory.arena;
    let tight = Options { memory_limit: needed * 2 / 3, ..Options::default() };
    let error = Plan::new(&model, &tight).err().expect("an error").to_string();
    assert!(error.contains("memory_limit"), "{error}");
    assert!(Plan::new(&model, &Options { winograd: false, ..tight }).is_ok());
}

#[test]
fn the_callers_own_pool_gives_the_same_bits() {
    let model = mobilenet_v2(64, Groups::Learned(8));
    let one = run(&Plan::new(&model, &Options::default()).unwrap());
    let pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap());
    let plan = Plan::new(&model, &Options { threads: Threads::Pool(Arc::clone(&pool)), ..Options::default() }).unwrap();
    assert!(one == run(&plan));
    // Sessions of one plan on several of the pool's threads at once.
    let (a, b) = pool.join(|| run(&plan), || run(&plan));
    assert!(one == a && one == b);
}

#[test]
fn instruction_sets_agree_within_rounding() {
    for (name, model) in networks() {
        let of = |isa| run(&Plan::new(&model, &Options { isa: Some(isa), ..Options::default() }).unwrap());
        let reference = of(Isa::Portable);
        let largest = reference.iter().fold(0f32, |max, x| max.max(x.abs()));
        assert!(largest > 1e-3, "{name}: outputs that are all zero prove nothing");
        for isa in Isa::ALL {
            if !isa.is_available() {
                eprintln!("not tested: this CPU has no {isa}");
                continue;
            }
            let difference = of(isa).iter().zip(&reference).fold(0f32, |max, (a, b)| max.max((a - b).abs()));
            assert!(difference <= 2e-5 * largest, "{name}: {isa} differs by {difference}, outputs reach {largest}");
        }
    }
}

#[test]
fn nothing_is_allocated_after_the_session_is_made() {
    for (name, model) in networks() {
        let plan = Plan::new(&model, &Options::default()).unwrap();
        let input = input(&plan);
        let mut output = vec![0.0; plan.outputs()[0].shape.iter().product()];
        let mut session = plan.session();
        let ((), allocated) = common::counted(|| {
            for _ in 0..3 {
                session.run(&input).unwrap();
                session.run_with(&[&input], &mut [&mut output]).unwrap();
            }
        });
        assert_eq!(allocated.calls, 0, "{name}");
    }
    let (_, allocated) = common::counted(|| std::hint::black_box(vec![0u8; 100]));
    assert!(allocated.calls == 1 && allocated.most_bytes == 100, "the counter counts");
}

#[test]
fn multiply_adds_are_those_inside_groups() {
    let macs = |groups| Plan::new(&mobilenet_v2(224, groups), &Options::default()).unwrap().report().macs;
    assert_eq!(macs(Groups::Even(1)), 300_774_272, "MobileNetV2 at 224 x 224");
    let learned = macs(Groups::Learned(8));
    assert!((60_000_000..75_000_000).contains(&learned), "{learned}");
}

#[test]
fn limits_refuse_before_anything_large_is_allocated() {
    let model = mobilenet_v2(224, Groups::Even(1));
    let error = |options: Options| {
        let (result, allocated) = common::counted(|| Plan::new(&model, &options).err().expect("an error").to_string());
        assert!(allocated.most_bytes < 8 << 20, "{} bytes for {result}", allocated.most_bytes);
        result
    };
    let few = error(Options { macs_limit: 1_000_000, ..Options::default() });
    assert!(few.contains("multiply-adds") && few.contains("\"conv0\"") && few.contains("macs_limit"), "{few}");
    let small = error(Options { memory_limit: 1_000_000, ..Options::default() });
    assert!(small.contains("memory") && small.contains("layer \"") && small.contains("memory_limit"), "{small}");
    let memory = Plan::new(&model, &Options::default()).unwrap().report().memory;
    assert!(memory.arena + memory.weights < 32 << 20, "{memory:?}");
    // A graph may ask for more than any machine has.
    let (mut b, x) = flgc_benches::Builder::new(1, 1, [1, 1, 1]);
    let scale = flgc::model::graph::Resize {
        mode: flgc::model::graph::ResizeMode::Nearest,
        size: Some([10_000_000, 10_000_000]),
        scale: None,
        coordinates: Default::default(),
        rounding: Default::default(),
    };
    let y = b.node(flgc::model::graph::Op::Resize(scale.into()), &[&x], [1, 10_000_000, 10_000_000]);
    let model = b.finish(&[&y]);
    let huge = Plan::new(&model, &Options::default()).err().expect("an error").to_string();
    assert!(huge.contains("resize0") && huge.contains("limit"), "{huge}");
}

#[test]
fn shapes_are_asked_for_within_the_models_range() {
    let plan = |shape: &[usize]| {
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/models/cifar10-mobilenetv2-flgc8.flgc");
        let model = Model::open(shipped).unwrap();
        let input_shapes = [("input".to_owned(), shape.to_vec())].into();
        Plan::new(&model, &Options { input_shapes, ..Options::default() })
    };
    assert_eq!(plan(&[2, 3, 40, 48]).unwrap().outputs()[0].shape, [2, 10]);
    for shape in [&[1, 3, 16, 16][..], &[1, 3, 32], &[0, 3, 32, 32], &[1, 4, 32, 32], &[65, 3, 32, 32]] {
        let error = plan(shape).err().expect("an error").to_string();
        assert!(error.contains("\"input\"") && error.contains("1 to 64"), "{error}");
    }
    let model = mobilenet_v2(64, Groups::Even(1));
    let input_shapes = [("picture".to_owned(), vec![1, 3, 64, 64])].into();
    let error = Plan::new(&model, &Options { input_shapes, ..Options::default() }).err().expect("an error").to_string();
    assert!(error.contains("\"picture\"") && error.contains("\"input\""), "{error}");
}

#[test]
fn a_batch_gives_what_its_images_give_alone() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/models/cifar10-mobilenetv2-flgc8.flgc");
    let model = Model::open(shipped).unwrap();
    let input_shapes = [("input".to_owned(), vec![3, 3, 32, 32])].into();
    let batch = Plan::new(&model, &Options { input_shapes, ..Options::default() }).unwrap();
    let single = Plan::new(&model, &Options::default()).unwrap();
    let pixels = input(&batch);
    let together = batch.session().run(&pixels).unwrap().to_vec();
    let mut session = single.session();
    let alone: Vec<f32> = pixels.chunks(3 * 32 * 32).flat_map(|image| session.run(image).unwrap().to_vec()).collect();
    assert!(together == alone);
}

#[test]
fn wrong_inputs_are_refused_and_the_session_goes_on() {
    let model = mobilenet_v3_block(8, Groups::Learned(4));
    let plan = Plan::new(&model, &Options::default()).unwrap();
    let mut session = plan.session();
    let error = session.run(&[0.0; 7]).unwrap_err().to_string();
    assert_eq!(error, "input 0: 7 floats, expected 1024");
    let pixels = input(&plan);
    let error = session.run_with(&[&pixels, &pixels], &mut [&mut [0.0; 1024]]).unwrap_err().to_string();
    assert_eq!(error, "2 inputs, expected 1");
    let error = session.run_with(&[&pixels], &mut [&mut [0.0; 3]]).unwrap_err().to_string();
    assert_eq!(error, "output 0: 3 floats, expected 1024");
    assert!(session.run(&pixels).unwrap() == run(&plan));
}

#[test]
fn half_precision_weights_are_used_as_stored() {
    let (graph, tensors) = {
        let model = mobilenet_v3_block(8, Groups::Learned(4));
        let tensors = model.tensor_names().map(|name| {
            let view = model.tensor(name).unwrap();
            let values: Vec<f32> = view.iter().collect();
            let tensor = match view.dtype {
                DType::F32 if name.ends_with("weight") => flgc::model::Tensor::floats(DType::BF16, view.shape, &values),
                DType::F32 => flgc::model::Tensor::floats(DType::F32, view.shape, &values),
                _ => flgc::model::Tensor::groups(4, &view.indices()),
            };
            (name.to_owned(), tensor)
        });
        (model.graph().clone(), tensors.collect())
    };
    let rounded = Model::new(&graph, &tensors).unwrap();
    let widened = tensors.iter().map(|(name, tensor)| {
        let view = rounded.tensor(name).unwrap();
        let tensor = match tensor.dtype {
            DType::BF16 => flgc::model::Tensor::floats(DType::F32, view.shape, &view.iter().collect::<Vec<_>>()),
            _ => tensor.clone(),
        };
        (name.clone(), tensor)
    });
    let widened = Model::new(&graph, &widened.collect()).unwrap();
    assert!(rounded.as_bytes().len() < widened.as_bytes().len());
    let of = |model: &Model| run(&Plan::new(model, &Options::default()).unwrap());
    assert!(of(&rounded) == of(&widened));
}
