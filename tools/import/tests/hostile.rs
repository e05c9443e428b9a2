//! Files that are damaged, hostile or beyond what flgc has: one clear error each, never a panic.

use flgc_import::{ImportError, Imported, Options, import_bytes, import_file, proto};
use prost::Message;
use std::{fs, path::Path};

fn value(name: &str, dims: &[i64]) -> proto::ValueInfo {
    let dim = |&dim: &i64| match dim {
        // Negative sizes stand for names.
        ..0 => proto::Dimension { dim_value: None, dim_param: Some(format!("d{dim}")) },
        _ => proto::Dimension { dim_value: Some(dim), dim_param: None },
    };
    let shape = Some(proto::Shape { dim: dims.iter().map(dim).collect() });
    let tensor_type = Some(proto::TensorType { elem_type: proto::data_type::FLOAT, shape });
    proto::ValueInfo { name: name.into(), r#type: Some(proto::Type { tensor_type }) }
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> proto::Tensor {
    proto::Tensor {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: proto::data_type::FLOAT,
        float_data: values.to_vec(),
        ..Default::default()
    }
}

fn ints(name: &str, values: &[i64]) -> proto::Tensor {
    proto::Tensor {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: proto::data_type::INT64,
        int64_data: values.to_vec(),
        ..Default::default()
    }
}

fn node(name: &str, op: &str, inputs: &[&str], outputs: &[&str]) -> proto::Node {
    let strings = |of: &[&str]| of.iter().map(|&name| name.to_owned()).collect();
    proto::Node {
        name: name.into(),
        op_type: op.into(),
        input: strings(inputs),
        output: strings(outputs),
        ..Default::default()
    }
}

fn with_int(mut node: proto::Node, name: &str, value: i64) -> proto::Node {
    node.attribute.push(proto::Attribute { name: name.into(), i: Some(value), r#type: 2, ..Default::default() });
    node
}

fn with_ints(mut node: proto::Node, name: &str, values: &[i64]) -> proto::Node {
    node.attribute.push(proto::Attribute { name: name.into(), ints: values.to_vec(), r#type: 7, ..Default::default() });
    node
}

/// A network from `x`, 1x4x6x5, to `y`.
fn model(nodes: Vec<proto::Node>, constants: Vec<proto::Tensor>) -> proto::Model {
    let graph = proto::Graph {
        node: nodes,
        initializer: constants,
        input: vec![value("x", &[1, 4, 6, 5])],
        output: vec![value("y", &[])],
        sparse_initializer: Vec::new(),
    };
    let opset_import = vec![proto::OperatorSet { domain: String::new(), version: 17 }];
    proto::Model { ir_version: 8, graph: Some(graph), opset_import }
}

fn conv(weights: proto::Tensor) -> proto::Model {
    model(vec![node("my conv", "Conv", &["x", "w"], &["y"])], vec![weights])
}

fn import(model: &proto::Model) -> Result<Imported, ImportError> {
    import_bytes(model.encode_to_vec().into(), None, &Options::default())
}

/// The message for `model`, which names `place` and holds all of `parts`.
#[track_caller]
fn refuses(model: &proto::Model, parts: &[&str]) {
    let Err(error) = import(model) else { panic!("accepted, expected an error with {parts:?}") };
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message}");
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

#[test]
fn a_good_network_is_accepted() {
    let Imported { report, .. } = import(&conv(floats("w", &[2, 4, 1, 1], &[1.0; 8]))).unwrap();
    assert_eq!(report.macs, 8 * 30);
}

#[test]
fn what_is_no_onnx_file_is_refused() {
    for (bytes, part) in [
        (Vec::new(), "nothing"),
        (b"PK\x03\x04 some archive or other".to_vec(), "ONNX"),
        (b"\x08\x08".to_vec(), "no version"),
        (fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap(), "ONNX"),
    ] {
        let Err(error) = import_bytes(bytes.into(), None, &Options::default()) else { panic!("accepted") };
        assert!(error.to_string().contains(part), "{error}");
    }
    let missing = import_file("no/such/file.onnx", &Options::default());
    assert!(matches!(missing, Err(ImportError::Io { .. })));
}

#[test]
fn every_truncation_is_refused_and_no_flipped_bit_panics() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/flgc__split/model.onnx");
    let bytes = fs::read(path).unwrap();
    for length in (0..bytes.len()).step_by(7) {
        assert!(import_bytes(bytes[..length].to_vec().into(), None, &Options::default()).is_err(), "{length}");
    }
    for at in (0..bytes.len()).step_by(11) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        let _ = import_bytes(damaged.into(), None, &Options::default());
    }
}

#[test]
fn everything_unsupported_is_listed_at_once() {
    let nodes = vec![
        node("a", "Erf", &["x"], &["1"]),
        node("b", "Erf", &["1"], &["2"]),
        node("c", "LSTM", &["2"], &["3"]),
        node("d", "Relu", &["3"], &["4"]),
        proto::Node { domain: "com.example".into(), ..node("e", "Mish", &["4"], &["5"]) },
        with_int(node("f", "LRN", &["x"], &["6"]), "size", 3),
        node("g", "Add", &["5", "6"], &["y"]),
    ];
    let network = model(nodes, Vec::new());
    refuses(
        &network,
        &["5 nodes", "Erf (2x: \"a\", \"b\")", "LSTM (1x: \"c\")", "com.example.Mish (1x: \"e\")", "LRN (1x: \"f\")"],
    );
    let Err(ImportError::Unsupported(missing)) = import(&network) else { panic!("another error") };
    assert_eq!(missing.len(), 4);
}

#[test]
fn uses_of_operators_that_are_not_supported_are_named() {
    let transposed = with_int(node("product", "Gemm", &["x", "w"], &["y"]), "transA", 1);
    refuses(&model(vec![transposed], vec![floats("w", &[1, 1], &[1.0])]), &["Gemm with transA", "\"product\""]);
    let one_dimension = conv(floats("w", &[2, 4, 3], &[1.0; 24]));
    refuses(&one_dimension, &["Conv with weights of shape [2, 4, 3]", "\"my conv\""]);
    let mut cubic = node("grow", "Resize", &["x", "", "s"], &["y"]);
    cubic.attribute.push(proto::Attribute {
        name: "mode".into(),
        s: Some("cubic".into()),
        r#type: 3,
        ..Default::default()
    });
    refuses(
        &model(vec![cubic], vec![floats("s", &[4], &[1.0, 1.0, 2.0, 2.0])]),
        &["Resize with mode \"cubic\"", "\"grow\""],
    );
    let pool = with_ints(node("pool", "MaxPool", &["x"], &["p", "i"]), "kernel_shape", &[2, 2]);
    let unread = vec![pool.clone(), node("end", "Relu", &["p"], &["y"])];
    assert!(import(&model(unread, Vec::new())).is_ok(), "indices that nobody reads do no harm");
    let read = vec![pool, node("sum", "Add", &["p", "i"], &["y"])];
    refuses(&model(read, Vec::new()), &["MaxPool whose indices are used", "\"pool\""]);
}

#[test]
fn wrong_shapes_and_types_are_refused_with_their_node() {
    let wrong_channels = conv(floats("w", &[2, 3, 1, 1], &[1.0; 6]));
    refuses(&wrong_channels, &["node \"my conv\" (Conv)", "[2, 3, 1, 1]", "4 channels"]);
    let integers = proto::Tensor { dims: vec![1, 4, 1, 1], ..ints("w", &[1, 2, 3, 4]) };
    refuses(&conv(integers), &["\"my conv\"", "integer", "float"]);
    refuses(&conv(floats("w", &[2, 4, 9, 9], &[1.0; 648])), &["\"my conv\"", "6x5 pixels"]);
    refuses(&conv(floats("w", &[2, 4, 1, 1], &[1.0; 7])), &["constant \"w\"", "7 elements"]);
    refuses(&conv(floats("w", &[2, 4, 1, 1], &[1., 2., 3., f32::NAN, 5., 6., 7., 8.])), &["y.weight", "NaN"]);
    let strides = with_ints(node("step", "Conv", &["x", "w"], &["y"]), "strides", &[0, 1]);
    refuses(&model(vec![strides], vec![floats("w", &[1, 4, 1, 1], &[1.0; 4])]), &["\"step\"", "strides [0, 1]"]);
    let pads = with_ints(node("pads", "Conv", &["x", "w"], &["y"]), "pads", &[-1, 0, 0, 1 << 40]);
    refuses(&model(vec![pads], vec![floats("w", &[1, 4, 1, 1], &[1.0; 4])]), &["\"pads\"", "-1"]);
    let text = with_int(node("group", "Conv", &["x", "w"], &["y"]), "group", i64::MIN);
    refuses(&model(vec![text], vec![floats("w", &[1, 4, 1, 1], &[1.0; 4])]), &["\"group\"", "groups"]);
    let huge = with_int(node("huge", "Conv", &["x", "w"], &["y"]), "group", 1 << 62);
    refuses(&model(vec![huge], vec![floats("w", &[1, 4, 1, 1], &[1.0; 4])]), &["\"huge\"", "groups"]);
    let reshape = vec![node("form", "Reshape", &["x", "s"], &["y"])];
    refuses(&model(reshape, vec![ints("s", &[7, -1])]), &["\"form\"", "[7, -1]", "as many elements"]);
    let missing = vec![node("lonely", "Conv", &["x"], &["y"])];
    refuses(&model(missing, Vec::new()), &["\"lonely\"", "no input 1"]);
}

#[test]
fn sizes_that_are_absurd_are_refused_before_anything_is_allocated() {
    refuses(&conv(floats("w", &[-2, 4, 1, 1], &[])), &["constant \"w\"", "-2"]);
    refuses(&conv(floats("w", &[1 << 31, 1 << 31, 1, 1], &[])), &["constant \"w\"", "at most"]);
    let filled = |dims: &[i64]| {
        let nodes = vec![node("fill", "ConstantOfShape", &["s"], &["c"]), node("sum", "Add", &["x", "c"], &["y"])];
        model(nodes, vec![ints("s", dims)])
    };
    refuses(&filled(&[1_000_000_000]), &["node \"fill\" (ConstantOfShape)", "1000000000", "at most"]);
    refuses(&filled(&[i64::MAX, i64::MAX]), &["\"fill\""]);
    // Beside a zero, too.
    for op in ["Flatten", "Neg", "Tile"] {
        let inputs: &[&str] = if op == "Tile" { &["c", "s"] } else { &["c"] };
        let nodes = vec![
            node("fill", "ConstantOfShape", &["s"], &["c"]),
            node("next", op, inputs, &["d"]),
            node("sum", "Add", &["x", "d"], &["y"]),
        ];
        refuses(&model(nodes, vec![ints("s", &[0, 1 << 62, 1 << 62])]), &["\"fill\"", "at most"]);
    }
    let expand = vec![node("none", "Expand", &["x", "s"], &["e"]), node("my conv", "Conv", &["e", "w"], &["y"])];
    refuses(&model(expand, vec![ints("s", &[1, 0, 6, 5]), floats("w", &[4, 0, 1, 1], &[])]), &["\"none\""]);
    let range = vec![node("count", "Range", &["a", "b", "c"], &["r"]), node("sum", "Add", &["x", "r"], &["y"])];
    let scalar = |name: &str, value: i64| proto::Tensor { dims: Vec::new(), ..ints(name, &[value]) };
    let constants = vec![scalar("a", i64::MIN), scalar("b", i64::MAX), scalar("c", 1)];
    refuses(&model(range, constants), &["\"count\"", "at most"]);
    // A little at a time.
    let mut nodes = vec![node("0", "ConstantOfShape", &["s"], &["c0"])];
    for i in 1..100 {
        let (from, to) = (format!("c{}", i - 1), format!("c{i}"));
        nodes.push(node(&to, "Neg", &[&from], &[&to]));
    }
    nodes.push(node("sum", "Add", &["x", "c99"], &["y"]));
    let chain = model(nodes, vec![ints("s", &[500_000])]).encode_to_vec();
    let mut options = Options::default();
    options.plan.memory_limit = 8 << 20;
    let Err(error) = import_bytes(chain.into(), None, &options) else { panic!("accepted") };
    assert!(error.to_string().contains("more work on constants"), "{error}");
    let wide = with_ints(node("wide", "Pad", &["x", "p"], &["y"]), "unused", &[]);
    refuses(&model(vec![wide], vec![ints("p", &[0, 0, 1 << 40, 0, 0, 0, 0, 0])]), &["Pad by", "\"wide\""]);
}

#[test]
fn lists_of_channels_are_bounded() {
    // Each doubles the channels.
    let mut nodes = Vec::new();
    for i in 0..30 {
        let (from, to) = (if i == 0 { "x".to_owned() } else { format!("c{i}") }, format!("c{}", i + 1));
        nodes.push(with_int(node(&to, "Concat", &[&from, &from], &[&to]), "axis", 1));
    }
    nodes.push(node("end", "Relu", &["c30"], &["y"]));
    refuses(&model(nodes, Vec::new()), &["(Concat)", "more channels"]);
    let expand = vec![
        node("flat", "GlobalAveragePool", &["x"], &["p"]),
        node("one", "Slice", &["p", "b", "e", "a"], &["o"]),
        node("wide", "Expand", &["o", "s"], &["y"]),
    ];
    let constants = vec![ints("b", &[0]), ints("e", &[1]), ints("a", &[1]), ints("s", &[1, 1 << 26, 1, 1])];
    refuses(&model(expand, constants), &["\"wide\"", "more channels"]);
    let mut long = conv(floats("w", &[40_000, 4, 1, 1], &vec![1.0; 160_000]));
    refuses(&long, &["\"my conv\"", "40000 filters", "at most 32768"]);
    if let Some(graph) = &mut long.graph {
        graph.input = vec![value("x", &[1 << 20, 4, 1 << 20, 1 << 20])];
    }
    refuses(&long, &["input \"x\"", "elements"]);
}

#[test]
fn networks_too_large_to_run_are_refused() {
    let mut network = model(
        vec![with_ints(node("p", "Conv", &["x", "w"], &["y"]), "pads", &[4000; 4])],
        vec![floats("w", &[40, 4, 1, 1], &[1.0; 160])],
    );
    refuses(&network, &["memory", "memory_limit"]);
    if let Some(graph) = &mut network.graph {
        graph.input = vec![value("x", &[1, 4, 1 << 30, 1])];
    }
    refuses(&network, &["input \"x\"", "1 to 6 dimensions"]);
}

#[test]
fn graphs_that_are_no_graphs_are_refused() {
    let cycle = vec![
        node("a", "Add", &["x", "2"], &["1"]),
        node("b", "Relu", &["1"], &["2"]),
        node("c", "Relu", &["2"], &["y"]),
    ];
    refuses(&model(cycle, Vec::new()), &["\"a\" (Add)", "cycle"]);
    let twice = vec![node("a", "Relu", &["x"], &["y"]), node("b", "Relu", &["x"], &["y"])];
    refuses(&model(twice, Vec::new()), &["node \"b\" (Relu)", "\"y\" again"]);
    let over_input = vec![node("a", "Relu", &["x"], &["x"])];
    refuses(&model(over_input, Vec::new()), &["node \"a\"", "\"x\" again"]);
    let dangling = vec![node("a", "Relu", &["nowhere"], &["y"])];
    refuses(&model(dangling, Vec::new()), &["node \"a\"", "\"nowhere\""]);
    refuses(&model(vec![node("a", "Relu", &["x"], &["z"])], Vec::new()), &["output \"y\""]);
    let constants = vec![floats("w", &[1, 4, 1, 1], &[1.0; 4]), floats("w", &[1, 4, 1, 1], &[1.0; 4])];
    refuses(&model(vec![node("a", "Conv", &["x", "w"], &["y"])], constants), &["constant \"w\"", "again"]);
    refuses(
        &model(vec![node("a", "Identity", &["w"], &["y"])], vec![floats("w", &[1], &[1.0])]),
        &["output \"y\"", "a constant"],
    );
}

#[test]
fn unknown_versions_and_inputs_are_refused() {
    let good = conv(floats("w", &[2, 4, 1, 1], &[1.0; 8]));
    for version in [0, 6, 999, -1] {
        let mut other = good.clone();
        other.opset_import[0].version = version;
        refuses(&other, &["version of the operators", &version.to_string()]);
    }
    let with_input = |of: proto::ValueInfo| {
        let mut other = good.clone();
        if let Some(graph) = &mut other.graph {
            graph.input = vec![of];
        }
        other
    };
    refuses(&with_input(value("x", &[-1, 4, -1, 5])), &["input \"x\"", "[?, 4, ?, 5]", "--input-shape x="]);
    let mut bytes = value("x", &[1, 4, 6, 5]);
    bytes.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().elem_type = proto::data_type::UINT8;
    refuses(&with_input(bytes), &["input \"x\"", "uint8", "float"]);
    let open = with_input(value("x", &[-1, 4, -1, -1]));
    let options = Options { input_shapes: vec![(None, vec![2, 4, 3, 7])], ..Default::default() };
    let imported = import_bytes(open.encode_to_vec().into(), None, &options).unwrap();
    assert_eq!(imported.model.graph().inputs[0].shape, [2, 4, 3, 7]);
    for shape in [vec![2, 5, 3, 7], vec![4, 3, 7], vec![1, 4, 0, 7]] {
        let options = Options { input_shapes: vec![(Some("x".into()), shape)], ..Default::default() };
        let Err(error) = import_bytes(open.encode_to_vec().into(), None, &options) else { panic!("accepted") };
        assert!(error.to_string().contains("asked for"), "{error}");
    }
}

#[test]
fn data_outside_of_the_file_stays_inside_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("model");
    fs::create_dir(&inner).unwrap();
    let bytes: Vec<u8> = [9.0f32, 9.0, 1.0, 2.0, 3.0, 4.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    fs::write(inner.join("weights.bin"), &bytes).unwrap();
    fs::write(folder.path().join("secret.bin"), &bytes).unwrap();
    let network = |entries: &[(&str, &str)]| {
        let entry = |&(key, value): &(&str, &str)| proto::Entry { key: key.into(), value: value.into() };
        let external_data = entries.iter().map(entry).collect();
        conv(proto::Tensor {
            external_data,
            data_location: 1,
            float_data: Vec::new(),
            ..floats("w", &[1, 4, 1, 1], &[])
        })
    };
    let import = |entries: &[(&str, &str)]| {
        let path = inner.join("model.onnx");
        fs::write(&path, network(entries).encode_to_vec()).unwrap();
        import_file(&path, &Options::default())
    };
    let good = import(&[("location", "weights.bin"), ("offset", "8"), ("length", "16")]).unwrap();
    assert_eq!(good.model.tensor("y.weight").unwrap().to_vec(), [1.0, 2.0, 3.0, 4.0]);
    let absolute = folder.path().join("secret.bin");
    let mut cases = vec![
        (vec![("location", "missing.bin")], "missing.bin"),
        (vec![("location", "../secret.bin"), ("offset", "8")], "own folder"),
        (vec![("location", absolute.to_str().unwrap()), ("offset", "8")], "own folder"),
        (vec![], "own folder"),
        (vec![("location", "weights.bin"), ("offset", "8"), ("length", "999999999999999")], "inside the file"),
        (vec![("location", "weights.bin"), ("offset", "18446744073709551615"), ("length", "16")], "inside the file"),
        (vec![("location", "weights.bin"), ("offset", "-1")], "a number"),
        (vec![("location", "weights.bin"), ("length", "12")], "12 bytes"),
    ];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&absolute, inner.join("link.bin")).unwrap();
        cases.push((vec![("location", "link.bin"), ("offset", "8")], "own folder"));
    }
    for (entries, part) in cases {
        let Err(error) = import(&entries) else { panic!("{entries:?} accepted") };
        assert!(error.to_string().contains("constant \"w\"") && error.to_string().contains(part), "{error}");
    }
    // Without a folder there is nothing to read from.
    refuses(&network(&[("location", "weights.bin")]), &["constant \"w\"", "by its path"]);
}
