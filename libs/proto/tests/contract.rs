//! What every file of the contract has, so that each language's ordinary generator makes good names of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet, FileOptions};

/// The files of a set, without the vendored ones.
fn own_files_of(descriptors: &[u8]) -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(descriptors).unwrap();
    set.file.into_iter().filter(|file| file.name().starts_with("openorder/")).collect()
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
