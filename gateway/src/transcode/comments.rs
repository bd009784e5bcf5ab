//! The comments of the contract: what its files say of methods, messages and fields.

use std::collections::HashMap;

use prost_reflect::{
    DescriptorPool, EnumDescriptor, EnumValueDescriptor, FieldDescriptor, MessageDescriptor, MethodDescriptor,
    ServiceDescriptor,
};

/// The comments before each definition, by its file and its path in there; without the marks of a comment.
#[derive(Debug, Default)]
pub(crate) struct Comments(HashMap<String, HashMap<Vec<i32>, String>>);

impl Comments {
    /// Those of all files; none where the descriptors were made without them.
    pub(crate) fn of(pool: &DescriptorPool) -> Self {
        let files = pool.file_descriptor_protos().map(|file| {
            let locations = file.source_code_info.iter().flat_map(|info| &info.location);
            let commented = locations.filter_map(|location| {
                let comment = location.leading_comments.as_deref()?;
                Some((location.path.clone(), plain(comment)))
            });
            (file.name().to_owned(), commented.collect())
        });
        Self(files.collect())
    }

    pub(crate) fn of_service(&self, service: &ServiceDescriptor) -> &str {
        self.at(service.parent_file().name(), service.path())
    }

    pub(crate) fn of_method(&self, method: &MethodDescriptor) -> &str {
        self.at(method.parent_file().name(), method.path())
    }

    pub(crate) fn of_message(&self, message: &MessageDescriptor) -> &str {
        self.at(message.parent_file().name(), message.path())
    }

    pub(crate) fn of_field(&self, field: &FieldDescriptor) -> &str {
        self.at(field.parent_file().name(), field.path())
    }

    pub(crate) fn of_enum(&self, descriptor: &EnumDescriptor) -> &str {
        self.at(descriptor.parent_file().name(), descriptor.path())
    }

    pub(crate) fn of_value(&self, value: &EnumValueDescriptor) -> &str {
        self.at(value.parent_file().name(), value.path())
    }

    fn at(&self, file: &str, path: &[i32]) -> &str {
        self.0.get(file).and_then(|file| file.get(path)).map(String::as_str).unwrap_or_default()
    }
}

/// Each line of a comment begins with the space behind its mark.
fn plain(comment: &str) -> String {
    let lines: Vec<_> = comment.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect();
    lines.join("\n").trim().to_owned()
}
