//! Reports: what is written can be read, and a report that can't be written leaves the old one alone.

use flgc_train::{
    metrics::{Epoch, LayerGroups},
    report::{self, Page},
};
use serde::{Deserialize, de::DeserializeOwned};
use std::{fs, path::Path};

const NAME: &str = "block<1>&\"conv\"";

/// Epochs as they could be: two layers whose groups drift apart.
fn epochs(count: usize) -> Vec<Epoch> {
    (1..=count)
        .map(|epoch| {
            let (t, drift) = (epoch as f64 / count as f64, 12 * epoch / count);
            let layer = |name: &str, width: usize| LayerGroups {
                name: name.to_owned(),
                channels: vec![width + drift, width - drift / 2, width, width - drift + drift / 2],
                filters: vec![width - drift, width, width + drift, width],
            };
            Epoch {
                epoch,
                learning_rate: 0.05 * (1.0 + (std::f64::consts::PI * t).cos()),
                train_loss: 2.3 * (-2.5 * t).exp() + 0.1 / 3.0,
                train_accuracy: 1.0 - 0.9 * (-3.0 * t).exp(),
                test_loss: 2.2 * (-2.0 * t).exp() + 0.03 * (37.0 * t).sin(),
                test_accuracy: 0.93 - 0.8 * (-3.5 * t).exp(),
                seconds: 61.25,
                moved_channels: (200.0 * (1.0 - t)) as usize,
                moved_filters: (90.0 * (1.0 - t) * (1.0 - t)) as usize,
                moved_from_start: 0.6 * (1.0 - (-4.0 * t).exp()),
                empty_groups: usize::from(t > 0.7),
                layers: vec![layer(NAME, 16), layer("head", 12)],
            }
        })
        .collect()
}

fn read<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    csv::Reader::from_path(path).unwrap().deserialize().map(Result::unwrap).collect()
}

#[derive(Debug, Deserialize)]
struct Scalars {
    epoch: usize,
    learning_rate: f64,
    train_loss: f64,
    train_accuracy: f64,
    test_loss: f64,
    test_accuracy: f64,
    seconds: f64,
    moved_channels: usize,
    moved_filters: usize,
    moved_from_start: f64,
    empty_groups: usize,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Group {
    epoch: usize,
    layer: String,
    group: usize,
    channels: usize,
    filters: usize,
}

#[test]
fn metrics_can_be_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    let mut epochs = epochs(7);
    (epochs[2].train_loss, epochs[2].test_loss) = (f64::INFINITY, 5e-324);
    report::write_metrics(&path, &epochs).unwrap();
    let back = read::<Scalars>(&path).into_iter().zip(&epochs).map(|(row, epoch)| Epoch {
        epoch: row.epoch,
        learning_rate: row.learning_rate,
        train_loss: row.train_loss,
        train_accuracy: row.train_accuracy,
        test_loss: row.test_loss,
        test_accuracy: row.test_accuracy,
        seconds: row.seconds,
        moved_channels: row.moved_channels,
        moved_filters: row.moved_filters,
        moved_from_start: row.moved_from_start,
        empty_groups: row.empty_groups,
        layers: epoch.layers.clone(),
    });
    assert_eq!(back.collect::<Vec<_>>(), epochs);

    epochs[0].test_loss = f64::NAN;
    report::write_metrics(&path, &epochs[..1]).unwrap();
    let back = read::<Scalars>(&path);
    assert!(back.len() == 1 && back[0].test_loss.is_nan(), "{back:?}");

    report::write_metrics(&path, &[]).unwrap();
    assert!(fs::read_to_string(&path).unwrap().starts_with("epoch,learning_rate,train_loss,"));
    assert!(read::<Scalars>(&path).is_empty());
}

#[test]
fn groups_can_be_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("groups.csv");
    let epochs = epochs(3);
    report::write_groups(&path, &epochs).unwrap();
    let mut expected = Vec::new();
    for Epoch { epoch, layers, .. } in &epochs {
        for layer in layers {
            for group in 0..layer.channels.len() {
                let (channels, filters) = (layer.channels[group], layer.filters[group]);
                expected.push(Group { epoch: *epoch, layer: layer.name.clone(), group, channels, filters });
            }
        }
    }
    assert_eq!(read::<Group>(&path), expected);
}

fn html(epochs: &[Epoch]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    let facts = [("command".to_owned(), "flgc-train <data> & \"more\"".to_owned())];
    report::write_html(&path, &Page { title: "<b>FLGC</b>", facts: &facts, epochs }).unwrap();
    let html = fs::read_to_string(&path).unwrap();
    check(&html);
    html
}

/// That tags are closed in order, texts escaped and nothing is fetched.
fn check(html: &str) {
    let body = &html[html.find("<body>").unwrap()..html.find("</html>").unwrap()];
    let (mut open, mut rest) = (Vec::new(), body);
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>').unwrap();
        let tag = &rest[start + 1..end];
        let name = tag.trim_matches('/').split_whitespace().next().unwrap();
        match () {
            () if tag.starts_with('/') => assert_eq!(open.pop(), Some(name)),
            () if !tag.ends_with('/') && name != "br" => open.push(name),
            () => {}
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "{open:?}");
    let other = html.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for bad in ["http:", "https:", "url(", "<script", "<link", "<img", "src=", "<b>", NAME, "<data>"] {
        assert!(!other.contains(bad), "{bad}");
    }
    assert!(html.contains("<h1>&lt;b&gt;FLGC&lt;/b&gt;</h1>"));
    assert!(!html.contains("NaN\"") && !html.contains("=\"inf"), "a coordinate is no number");
}

#[test]
fn pages_show_any_number_of_epochs() {
    let none = html(&[]);
    assert!(none.contains("No epoch is done yet") && !none.contains("<svg"));
    for count in [1, 3, 40, 400] {
        let html = html(&epochs(count));
        assert_eq!(html.matches("<svg ").count(), 6 + 2 * 2, "{count}");
        assert!(html.contains("block&lt;1&gt;&amp;&quot;conv&quot;"), "{count}");
        assert!(html.len() < 1_500_000, "{count}: {} bytes", html.len());
        if let Some(folder) = option_env!("FLGC_TRAIN_PAGES") {
            fs::write(Path::new(folder).join(format!("{count}.html")), html).unwrap();
        }
    }
}

#[test]
fn pages_without_groups_have_no_such_sections() {
    let mut epochs = epochs(3);
    for epoch in &mut epochs {
        epoch.layers.clear();
    }
    let html = html(&epochs);
    assert_eq!(html.matches("<svg ").count(), 3);
    assert!(!html.contains("group"));
}

#[test]
fn pages_survive_odd_figures() {
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE, 5e-324, -0.0] {
        for all in [false, true] {
            let mut epochs = epochs(5);
            for epoch in epochs.iter_mut().skip(if all { 0 } else { 2 }) {
                (epoch.train_loss, epoch.test_loss, epoch.learning_rate) = (odd, odd, odd);
                (epoch.train_accuracy, epoch.test_accuracy) = (odd, odd);
                (epoch.moved_from_start, epoch.seconds) = (odd, odd);
                (epoch.moved_channels, epoch.empty_groups) = (usize::MAX, 0);
            }
            html(&epochs);
        }
    }
    let mut epochs = epochs(4);
    epochs[0].layers.pop(); // A layer that came later,
    epochs[1].layers[0].channels = vec![usize::MAX, 0]; // lists that fit neither each other nor their neighbours,
    epochs[3].layers[0].channels.clear();
    epochs[3].layers[1].filters.fill(0);
    epochs[2].epoch = 9; // and epochs out of order.
    html(&epochs);
}

#[test]
fn failure_names_the_file_and_keeps_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    // A folder can't be replaced by a file, whoever runs the test.
    let path = folder.path().join("report.csv");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("old"), "old").unwrap();
    let error = report::write_metrics(&path, &epochs(1)).unwrap_err();
    assert_eq!(error.path, path);
    assert!(error.to_string().starts_with(&format!("{}: ", path.display())), "{error}");
    assert_eq!(fs::read_to_string(path.join("old")).unwrap(), "old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");

    let missing = folder.path().join("missing").join("report.html");
    let error = report::write_html(&missing, &Page { title: "", facts: &[], epochs: &[] }).unwrap_err();
    assert!(error.to_string().starts_with(&missing.display().to_string()), "{error}");
}

#[cfg(unix)]
#[test]
fn unwritable_folder_keeps_the_old_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("groups.csv");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let result = report::write_groups(&path, &epochs(1));
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    match result {
        Err(error) => {
            assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        }
        Ok(()) => assert_ne!(fs::read_to_string(&path).unwrap(), "old"), // Root may write anywhere.
    }
}
