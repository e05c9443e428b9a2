//! Model files as a hostile or careless world hands them in: each gives one error that names the place, none panics or allocates without bound.

use flgc::model::{
    DType, Model, ModelError, Tensor,
    graph::{self, Graph, Input, Learned, Node, Op},
};
use std::{collections::BTreeMap, fs};

mod common;
use common::{Counting, counted};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A small FLGC network: 1x1 in three uneven groups, one of them without channels.
fn parts() -> (Graph, BTreeMap<String, Tensor>) {
    let conv = graph::Conv {
        filters: 4,
        kernel: [1, 1],
        stride: [1, 1],
        pad: [0; 4],
        dilation: [1, 1],
        groups: 1,
        learned: Some(Learned { groups: 3, in_group: "in".into(), out_group: "out".into() }),
        weight: "w".into(),
        bias: Some("b".into()),
    };
    let node = |name: &str, op, input: &str, output: &str| Node {
        name: name.into(),
        op,
        inputs: vec![input.into()],
        outputs: vec![output.into()],
    };
    let graph = Graph {
        inputs: vec![Input { name: "x".into(), shape: vec![1, 3, 4, 5], range: Vec::new(), image: None }],
        nodes: vec![node("conv", Op::Conv(conv.into()), "x", "y"), node("relu", Op::Relu, "y", "z")],
        outputs: vec!["z".into()],
        labels: Vec::new(),
    };
    let tensors = BTreeMap::from([
        ("w".to_owned(), Tensor::floats(DType::F16, &[3], &[0.5, -1.0, 2.0])),
        ("b".to_owned(), Tensor::floats(DType::F32, &[4], &[0.1, 0.2, 0.3, 0.4])),
        ("in".to_owned(), Tensor::groups(3, &[0, 0, 2])),
        ("out".to_owned(), Tensor::groups(3, &[2, 1, 1, 0])),
    ]);
    (graph, tensors)
}

fn model() -> Model {
    let (graph, tensors) = parts();
    Model::new(&graph, &tensors).unwrap()
}

/// The error of a graph with its tensors after `change`.
fn error_of(change: impl FnOnce(&mut Graph, &mut BTreeMap<String, Tensor>)) -> String {
    let (mut graph, mut tensors) = parts();
    change(&mut graph, &mut tensors);
    Model::new(&graph, &tensors).err().expect("an error").to_string()
}

fn conv_of(graph: &mut Graph) -> &mut graph::Conv {
    match &mut graph.nodes[0].op {
        Op::Conv(conv) => conv,
        _ => unreachable!("the first node is the convolution"),
    }
}

/// A file with this header and data, and the right checksum if the header has room for one.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    let key = b"\"checksum\":\"00000000\"";
    if let Some(at) = file.windows(key.len()).position(|window| window == key) {
        let digits = format!("{:08x}", crc32c(&file));
        file[at + 12..at + 20].copy_from_slice(digits.as_bytes());
    }
    file
}

/// CRC-32C, bit by bit: independent of the library's.
fn crc32c(data: &[u8]) -> u32 {
    let step = |crc: u32| crc >> 1 ^ if crc & 1 == 1 { 0x82F6_3B78 } else { 0 };
    !data.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

fn header(graph: &str, tensors: &str) -> String {
    let graph = serde_json::to_string(graph).unwrap();
    format!(r#"{{"__metadata__":{{"format":"flgc","version":"1","checksum":"00000000","graph":{graph}}}{tensors}}}"#)
}

const SMALL_GRAPH: &str = r#"{"inputs":[{"name":"x","shape":[1,1,1,1]}],"nodes":[{"name":"r","op":"relu","inputs":["x"],"outputs":["y"]}],"outputs":["y"]}"#;

fn load_error(bytes: Vec<u8>) -> String {
    Model::from_bytes(bytes).err().expect("an error").to_string()
}

#[test]
fn the_same_model_gives_the_same_bytes_and_survives_a_round_trip() {
    let (a, b) = (model(), model());
    assert_eq!(a.as_bytes(), b.as_bytes());
    let again = Model::from_bytes(a.as_bytes().to_vec()).unwrap();
    assert_eq!(again.graph(), a.graph());
    assert_eq!(again.tensor("w").unwrap().iter().collect::<Vec<_>>(), [0.5, -1.0, 2.0]);
    assert_eq!(again.tensor_names().collect::<Vec<_>>(), ["b", "in", "out", "w"]);
}

#[test]
fn a_hand_written_file_is_read() {
    Model::from_bytes(file(&header(SMALL_GRAPH, ""), &[])).unwrap();
}

#[test]
fn files_on_disk_are_saved_whole_and_mapped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.flgc");
    fs::write(&path, "something else").unwrap();
    model().save(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), model().as_bytes());
    assert_eq!(Model::open(&path).unwrap().graph(), model().graph());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn a_file_that_cannot_be_written_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let error = model().save(folder.path().join("missing").join("model.flgc")).unwrap_err();
    assert!(matches!(error, ModelError::Io { .. }) && error.to_string().contains("model.flgc"), "{error}");
    // A folder in the target's place: the renaming fails, after everything was written.
    let target = folder.path().join("taken");
    fs::create_dir(&target).unwrap();
    model().save(&target).unwrap_err();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    #[cfg(target_os = "linux")]
    {
        let error = model().save("/proc/model.flgc").unwrap_err();
        assert!(error.to_string().starts_with("/proc/model.flgc"), "{error}");
    }
}

#[test]
fn missing_empty_and_foreign_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = |name: &str| Model::open(folder.path().join(name)).err().expect("an error").to_string();
    assert!(error("missing.flgc").contains("missing.flgc: No such file"), "{}", error("missing.flgc"));
    assert!(Model::open(folder.path()).is_err(), "a folder");
    fs::write(folder.path().join("empty.flgc"), "").unwrap();
    assert!(error("empty.flgc").contains("found 0 bytes"), "{}", error("empty.flgc"));
    fs::write(folder.path().join("text.flgc"), "hello, world").unwrap();
    assert!(error("text.flgc").contains("the length of the header"), "{}", error("text.flgc"));
    let plain = file(r#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &[0; 4]);
    assert!(load_error(plain).contains("safetensors"));
}

#[test]
fn every_truncation_is_refused() {
    let bytes = model().as_bytes().to_vec();
    for len in 0..bytes.len() {
        assert!(Model::from_bytes(bytes[..len].to_vec()).is_err(), "{len} bytes of {}", bytes.len());
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(load_error(longer).contains("checksum"));
}

#[test]
fn every_flipped_bit_is_refused() {
    let bytes = model().as_bytes().to_vec();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let Ok(same) = Model::from_bytes(damaged) else { continue };
        // A hex digit of the checksum may be in capitals: the same number.
        assert_eq!(same.graph(), model().graph(), "bit {bit}");
        assert!(bytes[bit / 8].is_ascii_alphabetic() && bit % 8 == 5, "bit {bit}");
    }
}

#[test]
fn headers_of_wrong_length_or_form_are_refused() {
    let good = file(&header(SMALL_GRAPH, ""), &[]);
    for length in [0, 1, good.len() as u64 - 7, u64::MAX, 1 << 40] {
        let mut bytes = good.clone();
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        load_error(bytes);
    }
    for header in ["", "{}", "[]", "{", "null", "\u{feff}{}", r#"{"__metadata__":{}}"#, r#"{"__metadata__":7}"#] {
        load_error(file(header, &[]));
    }
    let mut not_text = good;
    not_text[9] = 0xFF;
    assert!(load_error(not_text).contains("UTF-8"));
}

#[test]
fn version_format_and_checksum_are_required() {
    let header = header(SMALL_GRAPH, "");
    assert!(load_error(file(&header.replace(r#""version":"1""#, r#""version":"2""#), &[])).contains("version"));
    assert!(load_error(file(&header.replace(r#""format":"flgc""#, r#""format":"other""#), &[])).contains("format"));
    let absent = header.replace(r#""checksum":"00000000","#, "");
    assert!(load_error(file(&absent, &[])).contains("missing field `checksum`"));
    for digits in ["", "0", "zzzzzzzz", "000000000", "+0000000"] {
        let error = load_error(file(&header.replace("00000000", digits), &[]));
        assert!(error.contains("checksum"), "{digits:?}: {error}");
    }
    let mut wrong = file(&header, &[]);
    let at = wrong.windows(11).position(|w| w == b"\"checksum\":").unwrap() + 12;
    wrong[at] = if wrong[at] == b'0' { b'1' } else { b'0' };
    assert!(load_error(wrong).contains("the file is damaged"));
}

#[test]
fn tensors_that_overlap_leave_gaps_or_lie_are_refused() {
    let with = |tensors: &str, data: usize| load_error(file(&header(SMALL_GRAPH, tensors), &vec![0; data]));
    let a = r#","a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
    assert!(with(&format!(r#"{a},"b":{{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#), 12).contains("overlap"));
    assert!(with(&format!(r#"{a},"b":{{"dtype":"F32","shape":[1],"data_offsets":[12,16]}}"#), 16).contains("gap"));
    assert!(with(&format!("{a}{a}"), 8).contains("twice"));
    assert!(with(a, 12).contains("bytes after the header"));
    assert!(with(a, 4).contains("data_offsets"));
    assert!(with(a, 8).contains("no node that uses it"));
    for (shape, what) in [
        ("[3]", "bytes"),
        ("[16777215,16777215,16777215,16777215]", "a shape that fits"),
        ("[4294967296]", "16777215"),
        ("[-1]", "-1"),
        ("[1,1,1,1,1,1,2]", "dimensions"),
        ("2", "expected at most 6 dimensions"),
    ] {
        let error = with(&a.replace("[2]", shape), 8);
        assert!(error.contains(what), "{shape}: {error}");
    }
    let backwards = a.replace("[0,8]", "[8,0]");
    assert!(with(&backwards, 8).contains("ascending"));
    assert!(with(&a.replace("F32", "I64"), 8).contains("I64"));
}

#[test]
fn bad_graphs_name_the_layer_and_what_was_expected() {
    let cases: Vec<(String, &[&str])> = vec![
        (error_of(|g, _| g.nodes[0].inputs[0] = "z".into()), &["\"conv\"", "\"z\"", "without cycles"]),
        (error_of(|g, _| g.nodes[1].outputs[0] = "x".into()), &["\"relu\"", "\"x\" again"]),
        (error_of(|g, _| g.nodes[1].name = "conv".into()), &["\"conv\"", "again"]),
        (error_of(|g, _| g.nodes[1].name = String::new()), &["0 bytes"]),
        (error_of(|g, _| g.nodes[1].inputs.clear()), &["\"relu\"", "0 inputs", "one"]),
        (error_of(|g, _| g.nodes[1].outputs.push("q".into())), &["\"relu\"", "2 outputs"]),
        (error_of(|g, _| g.outputs[0] = "nowhere".into()), &["nowhere"]),
        (error_of(|g, _| g.outputs.clear()), &["0 outputs"]),
        (error_of(|g, _| g.inputs[0].shape[1] = 7), &["\"conv\"", "in_group", "[3]", "[7]"]),
        (error_of(|g, _| g.inputs[0].shape[2] = 0), &["input \"x\"", "0"]),
        (error_of(|g, _| g.inputs[0].shape[2] = 1 << 40), &["input \"x\"", "16777215"]),
        (error_of(|g, _| g.inputs[0].range = vec![[1, 1]; 4]), &["range"]),
        (error_of(|g, _| g.labels = vec!["a".into()]), &["labels", "found 1", "expected 5"]),
        (error_of(|g, _| conv_of(g).weight = "gone".into()), &["\"conv\"", "\"gone\"", "does not hold"]),
        (error_of(|g, _| conv_of(g).kernel = [0, 1]), &["\"conv\"", "[0, 1]"]),
        (error_of(|g, _| conv_of(g).stride = [1, 0]), &["\"conv\"", "stride"]),
        (error_of(|g, _| conv_of(g).pad = [1 << 50; 4]), &["\"conv\"", "pad"]),
        (error_of(|g, _| conv_of(g).filters = 5), &["\"conv\"", "out_group", "[4]", "[5]"]),
        (error_of(|g, _| conv_of(g).groups = 3), &["\"conv\"", "3"]),
        (error_of(|g, _| conv_of(g).learned = None), &["\"conv\"", "weight", "[3]", "[4, 3, 1, 1]"]),
        (error_of(|g, _| conv_of(g).learned.as_mut().unwrap().groups = 2), &["group 2 at index 2", "below 2"]),
        (error_of(|g, _| conv_of(g).learned.as_mut().unwrap().groups = 1 << 40), &["learned groups"]),
        (error_of(|_, t| drop(t.insert("in".into(), Tensor::groups(9, &[0, 0, 8])))), &["group 8", "below 3"]),
        (
            error_of(|_, t| drop(t.insert("w".into(), Tensor::floats(DType::F32, &[3], &[0.0, f32::NAN, 0.0])))),
            &["\"w\", element 1", "NaN"],
        ),
        (
            error_of(|_, t| drop(t.insert("b".into(), Tensor::floats(DType::F32, &[4], &[f32::INFINITY; 4])))),
            &["\"b\", element 0", "inf"],
        ),
        (
            error_of(|_, t| drop(t.insert("b".into(), Tensor::floats(DType::F16, &[4], &[0.0; 4])))),
            &["\"conv\"", "F16", "F32"],
        ),
        (error_of(|_, t| drop(t.insert("w".into(), Tensor::groups(3, &[0, 0, 0])))), &["\"conv\"", "U8"]),
        (error_of(|_, t| drop(t.insert("extra".into(), Tensor::groups(3, &[0])))), &["\"extra\"", "no node"]),
    ];
    for (error, parts) in cases {
        for part in parts {
            assert!(error.contains(part), "{error:?} does not say {part:?}");
        }
    }
}

#[test]
fn unknown_operators_and_attributes_are_refused_with_their_place() {
    let with = |from: &str, to: &str| load_error(file(&header(&SMALL_GRAPH.replace(from, to), ""), &[]));
    assert!(with("\"relu\"", "\"fft\"").contains("fft"));
    assert!(with("\"relu\"", r#"{"leaky_relu":{"alpha":1}}"#).contains("alpha"));
    assert!(with("\"outputs\":[\"y\"]}", "\"outputs\":[\"y\"],\"extra\":1}").contains("extra"));
    assert!(with("\"nodes\"", "\"knots\"").contains("line 1 column"));
}

#[test]
fn limits_on_counts_hold() {
    let node = |i: usize| format!(r#"{{"name":"n{i}","op":"relu","inputs":["x"],"outputs":["y{i}"]}}"#);
    let nodes = (0..=graph::MAX_NODES).map(node).collect::<Vec<_>>().join(",");
    let graph = format!(r#"{{"inputs":[{{"name":"x","shape":[1]}}],"nodes":[{nodes}],"outputs":["y0"]}}"#);
    assert!(load_error(file(&header(&graph, ""), &[])).contains("10000"));
    let inputs = vec!["\"x\""; graph::MAX_ARITY + 1].join(",");
    let graph = SMALL_GRAPH.replace(r#""inputs":["x"]"#, &format!(r#""inputs":[{inputs}]"#));
    assert!(load_error(file(&header(&graph, ""), &[])).contains("4096"));
    let node = |i: usize| {
        let inputs = vec!["\"x\""; graph::MAX_ARITY].join(",");
        format!(r#"{{"name":"n{i}","op":{{"concat":{{"axis":0}}}},"inputs":[{inputs}],"outputs":["y{i}"]}}"#)
    };
    let nodes = (0..6).map(node).collect::<Vec<_>>().join(",");
    let graph = format!(r#"{{"inputs":[{{"name":"x","shape":[1]}}],"nodes":[{nodes}],"outputs":["y0"]}}"#);
    assert!(load_error(file(&header(&graph, ""), &[])).contains("too many inputs and outputs"));
}

#[test]
fn loading_allocates_at_most_four_times_the_file_and_a_mebibyte() {
    let node = |i: usize| format!(r#"{{"name":"{i:x}","op":"relu","inputs":["x"],"outputs":["{i}"]}}"#);
    let nodes = |count: usize| (0..count).map(node).collect::<Vec<_>>().join(",");
    let network = |nodes: &str, more: &str| {
        format!(r#"{{"inputs":[{{"name":"x","shape":[1]}}],"nodes":[{nodes}],"outputs":["0"]{more}}}"#)
    };
    let labels = vec!["\"\""; graph::MAX_LABELS].join(",");
    let many_inputs = (0..4)
        .map(|i| {
            let inputs = vec!["\"x\""; graph::MAX_ARITY].join(",");
            format!(r#"{{"name":"{i}","op":{{"concat":{{"axis":0}}}},"inputs":[{inputs}],"outputs":["{i}"]}}"#)
        })
        .collect::<Vec<_>>()
        .join(",");
    let outputs = (0..graph::MAX_ARITY).map(|i| format!("\"{i:x}\"")).collect::<Vec<_>>().join(",");
    let sizes = vec!["1"; graph::MAX_ARITY].join(",");
    let split = format!(
        r#"{{"name":"s","op":{{"split":{{"axis":0,"sizes":[{sizes}]}}}},"inputs":["x"],"outputs":[{outputs}]}}"#
    );
    let order = (0..65_536).map(|i| i.to_string()).collect::<Vec<_>>().join(",");
    let permute =
        format!(r#"{{"name":"p","op":{{"gather_channels":{{"order":[{order}]}}}},"inputs":["x"],"outputs":["0"]}}"#);
    let tensors: String = (0..40_000)
        .map(|i| format!(r#","{i:x}":{{"dtype":"U8","shape":[1],"data_offsets":[{i},{}]}}"#, i + 1))
        .collect();
    let deep = "[".repeat(200_000);
    let hostile = [
        ("nodes", file(&header(&network(&nodes(10_000), ""), ""), &[])),
        ("labels", file(&header(&network(&nodes(1), &format!(r#","labels":[{labels}]"#)), ""), &[])),
        ("node inputs", file(&header(&network(&many_inputs, ""), ""), &[])),
        ("node outputs", file(&header(&network(&split, ""), ""), &[])),
        ("a permutation", file(&header(&network(&permute, ""), ""), &[])),
        ("tensors", file(&header(SMALL_GRAPH, &tensors), &[0; 40_000])),
        ("nesting", file(&header(&deep, ""), &[])),
        ("nesting in the header", file(&deep, &[])),
        ("a string", file(&format!("\"{}\"", "\\u0041".repeat(100_000)), &[])),
    ];
    for (what, bytes) in hostile {
        let size = bytes.len();
        let (_, allocated) = counted(|| Model::from_bytes(bytes).map(drop));
        let held = allocated.most_bytes;
        assert!(held <= 4 * size + (1 << 20), "{what}: a file of {size} bytes held {held}");
    }
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/models/cifar10-mobilenetv2-flgc8.flgc");
    let size = fs::metadata(shipped).unwrap().len() as usize;
    let (model, allocated) = counted(|| Model::open(shipped).unwrap());
    let held = allocated.most_bytes;
    assert!(held <= 4 * size + (1 << 20), "{held} for {size}");
    assert!(allocated.calls > 0 && held > 1000, "the counter counts");
    drop(model);
}
