//! The contract as it is known while the program runs: methods with their messages, and what their options say.

use anyhow::{Context, bail};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, MessageDescriptor, MethodDescriptor};
use prost_types::method_options::IdempotencyLevel;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

use super::comments::Comments;

/// The option that says how a method is called over HTTP.
const HTTP_RULE: &str = "google.api.http";
/// The field that makes a command that comes twice one.
const REQUEST_ID: &str = "request_id";
/// How the comment of a request's own id begins. In some requests a field of that name is another request's.
const OWN_REQUEST_ID: &str = "Chosen by the caller";

/// The verbs of a rule with their HTTP methods (`google/api/http.proto`).
const VERBS: [(&str, http::Method); 5] = [
    ("get", http::Method::GET),
    ("put", http::Method::PUT),
    ("post", http::Method::POST),
    ("delete", http::Method::DELETE),
    ("patch", http::Method::PATCH),
];

/// The messages of the contract, those of refusals, and their comments.
pub(crate) struct Contract {
    pool: DescriptorPool,
    comments: Comments,
}

/// One way to call a method over HTTP.
#[derive(Clone, Debug)]
pub(crate) struct HttpRule {
    pub(crate) method: http::Method,
    pub(crate) path: String,
    /// The field that the body is, `*` for the whole request, empty for none.
    pub(crate) body: String,
}

/// A method as the gateway calls it in the name of callers of other protocols.
#[derive(Clone, Debug)]
pub(crate) struct Procedure {
    pub(crate) descriptor: MethodDescriptor,
    pub(crate) input: MessageDescriptor,
    pub(crate) output: MessageDescriptor,
    /// Whether it changes nothing, and so may be asked for by GET.
    pub(crate) has_no_side_effects: bool,
    /// Whether it has no second effect when it comes twice; where there is a `request_id`, only with one.
    pub(crate) is_idempotent: bool,
    /// The field that names a command, where callers choose it.
    pub(crate) request_id: Option<FieldDescriptor>,
}

impl Contract {
    /// The contract of an encoded descriptor set with its imports, and the messages that refusals are made of.
    pub(crate) fn new(descriptors: &[u8]) -> anyhow::Result<Self> {
        let mut pool = DescriptorPool::decode(descriptors).context("the contract's descriptors do not decode")?;
        let details = FileDescriptorSet::decode(tonic_types::pb::FILE_DESCRIPTOR_SET).context("google.rpc")?;
        let is_known = |file: &FileDescriptorProto| {
            let mut names = file.message_type.iter().map(|message| format!("{}.{}", file.package(), message.name()));
            names.any(|name| pool.get_message_by_name(&name).is_some())
        };
        let missing: Vec<_> = details.file.into_iter().filter(|file| !is_known(file)).collect();
        pool.add_file_descriptor_protos(missing).context("google.rpc beside the contract")?;
        let comments = Comments::of(&pool);
        Ok(Self { pool, comments })
    }

    pub(crate) fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    pub(crate) fn comments(&self) -> &Comments {
        &self.comments
    }

    /// The methods of a service in their order; `None` if there is no such service.
    pub(crate) fn procedures(&self, service: &str) -> Option<Vec<Procedure>> {
        let service = self.pool.get_service_by_name(service)?;
        Some(service.methods().map(|method| self.procedure(method)).collect())
    }

    fn procedure(&self, method: MethodDescriptor) -> Procedure {
        let (input, output) = (method.input(), method.output());
        let options = method.method_descriptor_proto().options.as_ref();
        let level = options.map_or(IdempotencyLevel::IdempotencyUnknown, |options| options.idempotency_level());
        let is_own = |field: &FieldDescriptor| self.comments.of_field(field).starts_with(OWN_REQUEST_ID);
        Procedure {
            request_id: input.get_field_by_name(REQUEST_ID).filter(is_own),
            has_no_side_effects: level == IdempotencyLevel::NoSideEffects,
            is_idempotent: level == IdempotencyLevel::Idempotent,
            descriptor: method,
            input,
            output,
        }
    }

    /// How a method is called over HTTP, the first way first; nothing where its options do not say.
    pub(crate) fn http_rules(&self, procedure: &Procedure) -> anyhow::Result<Vec<HttpRule>> {
        let name = procedure.descriptor.full_name();
        let Some(option) = self.pool.get_extension_by_name(HTTP_RULE) else { return Ok(Vec::new()) };
        let options = procedure.descriptor.options();
        if !options.has_extension(&option) {
            return Ok(Vec::new());
        }
        let value = options.get_extension(&option);
        let first = value.as_message().with_context(|| format!("{HTTP_RULE} of {name} is no message"))?;
        let mut rules = vec![HttpRule::read(first).with_context(|| format!("{HTTP_RULE} of {name}"))?];
        let more = first.get_field_by_name("additional_bindings");
        for rule in more.as_deref().and_then(|more| more.as_list()).unwrap_or_default() {
            let rule = rule.as_message().with_context(|| format!("{HTTP_RULE} of {name} is no message"))?;
            rules.push(HttpRule::read(rule).with_context(|| format!("{HTTP_RULE} of {name}"))?);
        }
        Ok(rules)
    }
}

impl HttpRule {
    fn read(rule: &DynamicMessage) -> anyhow::Result<Self> {
        let text = |field: &str| {
            let value = rule.get_field_by_name(field);
            value.as_deref().and_then(|value| value.as_str()).unwrap_or_default().to_owned()
        };
        if !text("response_body").is_empty() {
            bail!("response_body is not known here: an answer is its whole message");
        }
        let verb = VERBS.into_iter().find(|(verb, _)| rule.has_field_by_name(verb));
        let (verb, method) = verb.context("it has none of get, put, post, delete and patch")?;
        Ok(Self { method, path: text(verb), body: text("body") })
    }
}

/// The contract, which tests read once.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) static PUBLIC: std::sync::LazyLock<std::sync::Arc<Contract>> = std::sync::LazyLock::new(|| {
    std::sync::Arc::new(Contract::new(openorder_proto::PUBLIC_FILE_DESCRIPTOR_SET).unwrap())
});

impl Procedure {
    /// Whether the answer is a stream.
    pub(crate) fn streams(&self) -> bool {
        self.descriptor.is_server_streaming()
    }

    /// Whether the request is a stream.
    pub(crate) fn takes_stream(&self) -> bool {
        self.descriptor.is_client_streaming()
    }
}
