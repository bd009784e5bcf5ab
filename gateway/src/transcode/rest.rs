//! Which method a path of REST calls, and what stands in which field of its request.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use anyhow::{Context, ensure};
use http::Method;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::contract::{Contract, HttpRule};
use super::path::{Template, Undecodable};
use crate::routes::Route;

/// All paths of REST.
#[derive(Default)]
pub(crate) struct RestRoutes {
    /// By their verb and the number of their segments; those without a number of their own are looked at last.
    by_shape: HashMap<Shape, Vec<Arc<Binding>>>,
    open: Vec<Arc<Binding>>,
    verbs: HashSet<String>,
}

type Shape = (Option<String>, usize);

/// One way to call a method.
pub(crate) struct Binding {
    pub(crate) method: Method,
    pub(crate) template: Template,
    pub(crate) body: BodyRule,
    pub(crate) route: Arc<Route>,
    /// The fields that the path has places for, each as the fields that lead to it.
    pub(crate) variables: Vec<Vec<FieldDescriptor>>,
}

/// What the body of a request is.
#[derive(Clone, Debug)]
pub(crate) enum BodyRule {
    /// There is none; all but the path stands in the query.
    Nothing,
    /// The whole request; there is no query.
    Whole,
    /// One field; the others stand in the query.
    Field(FieldDescriptor),
}

/// What a path means.
pub(crate) enum Found<'a> {
    /// A method, with the texts of the fields that stand in the path.
    Method(&'a Arc<Binding>, Vec<String>),
    /// A method whose path has no text where there must be some: the field.
    Undecodable(String),
    /// It is called by other HTTP methods.
    OtherMethods(String),
    Nothing,
}

impl RestRoutes {
    /// Adds the paths of a method.
    ///
    /// # Errors
    ///
    /// When one of its rules cannot be read, or has a path that another one has.
    pub(crate) fn add(&mut self, contract: &Contract, route: &Arc<Route>) -> anyhow::Result<()> {
        let name = route.procedure.descriptor.full_name();
        if route.procedure.takes_stream() {
            // A request over REST is one message.
            return Ok(());
        }
        for rule in contract.http_rules(&route.procedure)? {
            let binding = Binding::new(rule, route).with_context(|| format!("google.api.http of {name}"))?;
            self.insert(binding)?;
        }
        Ok(())
    }

    fn insert(&mut self, binding: Binding) -> anyhow::Result<()> {
        for other in self.all() {
            ensure!(
                other.method != binding.method || !other.template.overlaps(&binding.template),
                "{} {} of {} and {} of {} can be one path",
                binding.method,
                binding.template,
                binding.route.procedure.descriptor.full_name(),
                other.template,
                other.route.procedure.descriptor.full_name(),
            );
        }
        let verb = binding.template.verb().map(str::to_owned);
        self.verbs.extend(verb.clone());
        let binding = Arc::new(binding);
        match binding.template.length() {
            Some(length) => self.by_shape.entry((verb, length)).or_default().push(binding),
            None => self.open.push(binding),
        }
        Ok(())
    }

    /// All ways to call a method.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.by_shape.values().flatten().chain(&self.open)
    }

    /// What is called by a path. A colon in its last segment begins a verb, if there is such a verb; in an id that ends
    /// like one it is written `%3A`.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Found<'_> {
        let Some(path) = path.strip_prefix('/') else { return Found::Nothing };
        let (path, verb) = match path.rsplit_once(':') {
            Some((rest, verb)) if self.verbs.contains(verb) => (rest, Some(verb.to_owned())),
            _ => (path, None),
        };
        let segments: Vec<&str> = path.split('/').collect();
        let shape = (verb, segments.len());
        let of_shape = self.by_shape.get(&shape).into_iter().flatten();
        let open = self.open.iter().filter(|binding| binding.template.verb() == shape.0.as_deref());
        let mut others = BTreeSet::new();
        for binding in of_shape.chain(open).filter(|binding| binding.template.matches(&segments)) {
            if binding.method != *method {
                others.insert(binding.method.as_str());
                continue;
            }
            return match binding.template.values(&segments) {
                Ok(values) => Found::Method(binding, values.into_iter().map(|(_, text)| text).collect()),
                Err((field, Undecodable)) => Found::Undecodable(field.to_owned()),
            };
        }
        match others.is_empty() {
            true => Found::Nothing,
            false => Found::OtherMethods(others.into_iter().collect::<Vec<_>>().join(", ")),
        }
    }
}

impl Binding {
    fn new(rule: HttpRule, route: &Arc<Route>) -> anyhow::Result<Self> {
        let input = &route.procedure.input;
        let template = Template::parse(&rule.path)?;
        let variables: Vec<_> = template.fields().map(|path| lead_to(input, path)).collect::<Result<_, _>>()?;
        let body = match rule.body.as_str() {
            "" => BodyRule::Nothing,
            "*" => BodyRule::Whole,
            name => {
                let field = input.get_field_by_name(name).with_context(|| format!("there is no field {name}"))?;
                ensure!(is_message(&field), "the body {name} is no message");
                BodyRule::Field(field)
            }
        };
        Ok(Self { method: rule.method, template, body, route: Arc::clone(route), variables })
    }
}

/// The fields that lead to one by its path, which has one value in text.
fn lead_to(message: &MessageDescriptor, path: &str) -> anyhow::Result<Vec<FieldDescriptor>> {
    let (mut message, mut fields) = (message.clone(), Vec::new());
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let field = message.get_field_by_name(name).with_context(|| format!("there is no field {path}"))?;
        ensure!(!field.is_list() && !field.is_map(), "{path} leads through a list");
        let kind = field.kind();
        match (kind, names.peek()) {
            (Kind::Message(inner), Some(_)) => message = inner,
            (Kind::Message(_), None) => anyhow::bail!("{path} is a message"),
            (_, Some(_)) => anyhow::bail!("{path} leads through a value"),
            (_, None) => {}
        }
        fields.push(field);
    }
    Ok(fields)
}

fn is_message(field: &FieldDescriptor) -> bool {
    !field.is_list() && !field.is_map() && matches!(field.kind(), Kind::Message(_))
}
