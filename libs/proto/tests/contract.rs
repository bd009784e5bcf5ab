//! What every file of the contract has, so that each language's ordinary generator makes good names of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;

use openorder_proto::events;
use prost::Message;
use prost_reflect::DescriptorPool;
use prost_types::{FileDescriptorProto, FileDescriptorSet, FileOptions};

/// The files of a set by name, without the vendored ones.
fn own_files_of(descriptors: &[u8]) -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(descriptors).unwrap();
    let mut own: Vec<_> = set.file.into_iter().filter(|file| file.name().starts_with("openorder/")).collect();
    // A set has them in the order in which they are needed first.
    own.sort_by(|one, other| one.name().cmp(other.name()));
    own
}

/// The files of the contract, without the vendored ones.
fn own_files() -> Vec<FileDescriptorProto> {
    let own = own_files_of(openorder_proto::FILE_DESCRIPTOR_SET);
    assert!(own.len() > 20, "the contract is read: {}", own.len());
    own
}

/// `dead_letter` as `DeadLetter`.
fn camel(snake: &str) -> String {
    let words = snake.split('_');
    words.map(|word| format!("{}{}", word[..1].to_uppercase(), &word[1..])).collect()
}

/// All options follow from the package and the file's name: a file that was copied from another context shows.
#[test]
fn every_file_names_its_packages_in_the_languages_of_clients() {
    for file in own_files() {
        let parts: Vec<&str> = file.package().split('.').collect();
        let [_, contexts @ .., version] = parts.as_slice() else { panic!("{}: {}", file.name(), file.package()) };
        let contexts_camel: Vec<String> = contexts.iter().map(|context| camel(context)).collect();
        let namespace = |separator: &str| {
            let version = version.to_uppercase();
            let middle = contexts_camel.iter().map(String::as_str);
            let all: Vec<&str> = ["OpenOrder"].into_iter().chain(middle).chain([version.as_str()]).collect();
            all.join(separator)
        };
        let stem = file.name().rsplit('/').next().unwrap().strip_suffix(".proto").unwrap();
        let expected = FileOptions {
            csharp_namespace: Some(namespace(".")),
            go_package: Some(format!(
                "github.com/openorder/openorder/clients/go/{};{}{version}",
                parts.join("/"),
                contexts.concat()
            )),
            java_multiple_files: Some(true),
            java_outer_classname: Some(format!("{}Proto", camel(stem))),
            java_package: Some(format!("com.{}", file.package())),
            objc_class_prefix: Some(format!("OO{}", contexts_camel.concat())),
            php_namespace: Some(namespace("\\")),
            ruby_package: Some(namespace("::")),
            ..FileOptions::default()
        };
        assert_eq!(file.options, Some(expected), "{}", file.name());
    }
}

/// A client is generated without `openorder/internal`: what it gets must not lean on it.
#[test]
fn the_public_contract_is_the_whole_one_without_the_internal_packages() {
    let is_internal = |file: &FileDescriptorProto| file.package().starts_with("openorder.internal.");
    let (internal, rest): (Vec<_>, Vec<_>) = own_files().into_iter().partition(is_internal);
    assert!(!internal.is_empty());
    assert_eq!(rest, own_files_of(openorder_proto::PUBLIC_FILE_DESCRIPTOR_SET));
    for file in internal {
        assert!(file.name().starts_with("openorder/internal/"), "{}", file.name());
    }
}

fn repository_file(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)).unwrap()
}

/// Message and topic of each event type, as the options of the messages in a descriptor set say.
fn events_of(descriptors: &[u8]) -> BTreeMap<String, (String, String)> {
    let pool = DescriptorPool::decode(descriptors).unwrap();
    let option = pool.get_extension_by_name("openorder.event.v1.event").unwrap();
    let events = pool.all_messages().filter_map(|message| {
        let options = message.options();
        let value = options.has_extension(&option).then(|| options.get_extension(&option).into_owned())?;
        let text = |field| value.as_message().unwrap().get_field_by_name(field).unwrap().as_str().unwrap().to_owned();
        Some((text("type"), (message.full_name().to_owned(), text("topic"))))
    });
    events.collect()
}

/// A program in any language reads the table from the descriptors.
#[test]
fn the_public_descriptors_have_the_table_of_events() {
    let listed: BTreeMap<_, _> = events::ALL
        .iter()
        .map(|event| (event.event_type.to_owned(), (event.message.to_owned(), event.topic.to_owned())))
        .collect();
    assert_eq!(events_of(openorder_proto::PUBLIC_FILE_DESCRIPTOR_SET), listed);
}

/// What buf does not compare: a type that was released stays with its message and topic.
#[test]
fn events_of_the_baseline_are_as_they_were() {
    let now = events_of(openorder_proto::FILE_DESCRIPTOR_SET);
    let released = events_of(&repository_file("proto/baseline.binpb"));
    assert!(released.len() > 20, "the baseline is read: {}", released.len());
    for (event_type, place) in released {
        assert_eq!(now.get(&event_type), Some(&place), "{event_type}");
    }
}

/// Both ways: a consumer finds each event in the page, and the page has no other.
#[test]
fn the_page_for_consumers_has_the_table_of_events() {
    let page = String::from_utf8(repository_file("docs/consuming-events.md")).unwrap();
    let cells = |line: &str| -> Option<(String, String, String)> {
        let mut cells = line.strip_prefix("| `")?.strip_suffix("` |")?.split("` | `").map(str::to_owned);
        let row = (cells.next()?, cells.next()?, cells.next()?);
        cells.next().is_none().then_some(row)
    };
    let mut written: Vec<_> = page.lines().filter_map(cells).collect();
    let mut expected: Vec<_> = events::ALL
        .iter()
        .map(|event| (event.event_type.to_owned(), event.message.to_owned(), event.topic.to_owned()))
        .collect();
    written.sort();
    expected.sort();
    assert_eq!(written, expected);
}
