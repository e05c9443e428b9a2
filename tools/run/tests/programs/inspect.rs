//! `flgc-inspect`.

use super::*;
use std::{fs::File, io::Read};

#[test]
fn json_has_the_keys_of_the_contract() {
    let out = inspect(&[text(&reference()), "--format=json"]).expect(0);
    let whole: Value = serde_json::from_str(&out).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    // serde_json sorts the keys it reads.
    assert_eq!(keys(&whole), ["layers", "macs", "memory", "moves", "parameters", "steps"]);
    assert_eq!(keys(&whole["memory"]), ["arena", "mapped", "weights"]);
    assert_eq!(
        (&whole["moves"], &whole["macs"], &whole["parameters"]),
        (&json!(0), &json!(1_665_280), &json!(116_882))
    );
    assert_eq!(whole["memory"]["mapped"], std::fs::metadata(reference()).unwrap().len());
    let layers = whole["layers"].as_array().unwrap();
    for layer in layers {
        assert_eq!(keys(layer), ["groups", "kernel", "macs", "name", "op"]);
    }
    assert_eq!(layers.iter().map(|layer| layer["macs"].as_u64().unwrap()).sum::<u64>(), 1_665_280);
    // From the model's card.
    let conv6 = layers.iter().find(|layer| layer["name"] == "conv6").unwrap();
    let sizes: Vec<[u64; 2]> = conv6["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| [&group["channels"], &group["filters"]].map(|n| n.as_u64().unwrap()))
        .collect();
    assert_eq!(sizes, [[0, 4], [1, 8], [0, 4], [0, 3], [0, 3], [2, 6], [1, 7], [4, 13]]);
}

#[test]
fn text_shows_everything() {
    let out = inspect(&[reference()]).expect(0);
    for part in [
        "input   input  [1, 3, 32, 32], any of [1 to 64, 3, 32 to 64, 32 to 64]; pictures: rgb, stretched",
        "output  scores  [1, 10]",
        "labels  10",
        "8: 0->4, 1->8, 0->4, 2x 0->3, 2->6, 1->7, 4->13",
        "Channel orders",
        "steps that only move data               0",
        "1,665,280",
        "116,882",
        "511,080",
    ] {
        assert!(out.contains(part), "{part:?} is missing in\n{out}");
    }
    let kernel = |isa: &str| inspect(&[text(&reference()), "--isa", isa]).expect(0).contains(isa);
    assert!(kernel("portable"));
    assert!(kernel(flgc::Isa::best().name()));
}

#[test]
fn a_reader_may_leave_early() {
    let mut child = command(INSPECT, &[reference()]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut byte = [0];
    child.stdout.take().unwrap().read_exact(&mut byte).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
}

#[test]
fn the_page_shows_groups_before_and_after_reordering() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.html");
    assert_eq!(inspect(&[text(&reference()), "--html", text(&path)]).expect(0), inspect(&[reference()]).expect(0));
    let html = std::fs::read_to_string(&path).unwrap();
    for part in [
        "<h1>cifar10-reference.flgc</h1>",
        "1,665,280",
        "conv6",
        "title=\"conv6, group 7: 4 of 8 channels, 13 of 48 filters\"",
    ] {
        assert!(html.contains(part), "{part:?} is missing in\n{html}");
    }
    assert_is_alone(&html);
    let figure = html.split("<figure>").find(|figure| figure.contains("alt=\"groups of conv6")).unwrap();
    let pictures: Vec<_> =
        figure.split("base64,").skip(1).map(|rest| picture(rest.split('"').next().unwrap())).collect();
    let [before, after] = &pictures[..] else { panic!("{} pictures", pictures.len()) };
    // Of each group that has both, its channels times its filters, its channels, and the columns that they spread over.
    let groups = |picture: &image::RgbImage| {
        let mut columns = std::collections::BTreeMap::<_, Vec<u32>>::new();
        for (x, _, pixel) in picture.enumerate_pixels().filter(|(.., pixel)| pixel.0 != [0xFF; 3]) {
            columns.entry(pixel.0).or_default().push(x);
        }
        let mut groups: Vec<_> = columns
            .into_values()
            .map(|mut columns| {
                let weights = columns.len();
                columns.sort_unstable();
                columns.dedup();
                (weights, columns.len(), (columns[columns.len() - 1] - columns[0] + 1) as usize)
            })
            .collect();
        groups.sort_unstable();
        groups
    };
    // From the model's card; in memory the channels of each lie side by side.
    assert_eq!(groups(after), [(7, 1, 1), (8, 1, 1), (12, 2, 2), (52, 4, 4)]);
    let sizes =
        |groups: Vec<(usize, usize, usize)>| groups.into_iter().map(|(weights, channels, _)| (weights, channels));
    assert!(sizes(groups(before)).eq(sizes(groups(after))));
    assert!(groups(before).iter().any(|&(_, channels, over)| channels < over), "the groups were learned");
}

/// The picture in base64.
fn picture(text: &str) -> image::RgbImage {
    let png = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, text).unwrap();
    image::load_from_memory(&png).unwrap().into_rgb8()
}

#[test]
fn a_page_that_can_not_be_written_leaves_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing/page.html");
    inspect(&[text(&reference()), "--html", text(&missing)]).expect_error(2, &["page.html: No such file"]);
    // A folder can't be replaced by a file, whoever runs the test.
    let old = folder.path().join("old.html");
    std::fs::create_dir(&old).unwrap();
    std::fs::write(old.join("old"), "old").unwrap();
    inspect(&[text(&reference()), "--html", text(&old)]).expect_error(2, &[text(&old)]);
    assert_eq!(std::fs::read_to_string(old.join("old")).unwrap(), "old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
}

/// The page needs nothing but itself, and every tag that has to be closed is.
fn assert_is_alone(html: &str) {
    for part in ["http:", "https:", "url(", "<script", "<link", "<iframe"] {
        assert!(!html.contains(part), "{part:?} in\n{html}");
    }
    assert_eq!(html.matches("src=").count(), html.matches("src=\"data:image/png;base64,").count());
    for tag in ["html", "body", "table", "tr", "td", "th", "div", "figure", "span", "p"] {
        let opened = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "{tag} in\n{html}");
    }
}

#[test]
fn names_are_text_on_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let (model, page) = (folder.path().join("<i>.flgc"), folder.path().join("page.html"));
    write_model(&model, |graph| graph["nodes"][2]["name"] = "<b onclick='x'>&\"".into());
    inspect(&[text(&model), "--html", text(&page)]).expect(0);
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(
        html.contains("&lt;b onclick=&#39;x&#39;&gt;&amp;&quot;") && html.contains("<h1>&lt;i&gt;.flgc</h1>"),
        "{html}"
    );
    assert!(!html.contains("<b ") && !html.contains("<i>"), "{html}");
    assert_is_alone(&html);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_one_error() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let ran = Ran::from(command(INSPECT, &[reference()]).stdout(full).output().unwrap());
    ran.expect_error(2, &["flgc-inspect: standard output: No space left"]);
}

#[test]
fn usage() {
    for args in [&[][..], &["a", "b"], &["--format=csv", "a"]] {
        assert_eq!(inspect(args).status, Some(2));
    }
}
