//! The paths of the description, and what surrounds them.

use std::collections::BTreeMap;

use openorder_rpc::status::web::http_status_of_name;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value as Json, json};

use super::reasons::reasons;
use super::schema::Schemas;
use crate::transcode::contract::Contract;
use crate::transcode::json::{below, well_known};
use crate::transcode::rest::{Binding, BodyRule, RestRoutes};

const INTRODUCTION: &str = "An order backbone. Every method can be called over gRPC, Connect and gRPC-Web at the same \
    address, too. Names of fields are read in lowerCamelCase and in snake_case, whole numbers of 64 bits are texts, and \
    what is not set is left out of an answer.";
/// The name of how callers say who they are.
const TOKEN: &str = "token";
const TOKEN_DESCRIPTION: &str = "An access token of Authenticate, or an API key. The names at each operation are the \
    roles that may call it, one of which is enough. Where the server lets in callers without a token, they are operators.";
/// Messages in messages whose fields may stand in a query.
const QUERY_DEPTH_MAX: usize = 3;

/// The description of all that these routes take.
pub(super) fn document(contract: &Contract, routes: &RestRoutes) -> Json {
    let mut schemas = Schemas::new(contract);
    let mut bindings: Vec<&Binding> = routes.all().map(AsRef::as_ref).collect();
    bindings.sort_by_key(|binding| (binding.template.to_string(), binding.method.to_string()));
    let (mut paths, mut tags): (BTreeMap<String, Map<String, Json>>, BTreeMap<String, String>) = Default::default();
    let mut ways: BTreeMap<&str, usize> = BTreeMap::new();
    for binding in bindings {
        let method = &binding.route.procedure.descriptor;
        let service = method.parent_service();
        tags.insert(service.name().to_owned(), contract.comments().of_service(service).to_owned());
        let way = ways.entry(method.full_name()).or_default();
        *way += 1;
        let operation = operation(contract, &mut schemas, binding, *way);
        let path = paths.entry(path_of(binding)).or_default();
        path.insert(binding.method.as_str().to_ascii_lowercase(), operation);
    }
    let tags: Vec<Json> =
        tags.into_iter().map(|(name, comment)| json!({ "name": name, "description": comment })).collect();
    let paths: Map<String, Json> = paths.into_iter().map(|(path, methods)| (path, Json::Object(methods))).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "OpenOrder",
            "version": env!("CARGO_PKG_VERSION"),
            "description": INTRODUCTION,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas.finish(),
            "securitySchemes": { TOKEN: { "type": "http", "scheme": "bearer", "description": TOKEN_DESCRIPTION } },
        },
    })
}

/// A path with the plain names of its fields: of two paths that differ in names alone OpenAPI has one.
fn path_of(binding: &Binding) -> String {
    binding.template.fields().fold(binding.template.to_string(), |path, field| {
        path.replace(&format!("{{{field}}}"), &format!("{{{}}}", plain_name(field)))
    })
}

/// `product_id` of `product.product_id`.
fn plain_name(field: &str) -> &str {
    field.rsplit_once('.').map_or(field, |(_, name)| name)
}

/// One way to call a method; `way` is its number among those of the method.
fn operation(contract: &Contract, schemas: &mut Schemas<'_>, binding: &Binding, way: usize) -> Json {
    let procedure = &binding.route.procedure;
    let method = &procedure.descriptor;
    let comment = contract.comments().of_method(method);
    let (service, name) = (method.parent_service().name(), method.name());
    let suffix = if way == 1 { String::new() } else { format!("_{way}") };
    let mut operation = Map::new();
    operation.insert("operationId".to_owned(), format!("{service}_{name}{suffix}").into());
    operation.insert("tags".to_owned(), json!([service]));
    operation.insert("summary".to_owned(), first_sentence(comment).into());
    operation.insert("description".to_owned(), comment.into());
    operation.insert("parameters".to_owned(), parameters(schemas, binding).into());
    match &binding.body {
        BodyRule::Nothing => {}
        BodyRule::Whole => {
            operation.insert("requestBody".to_owned(), body(schemas.message(&procedure.input)));
        }
        BodyRule::Field(field) => {
            operation.insert("requestBody".to_owned(), body(schemas.field(field)));
        }
    }
    operation.insert("responses".to_owned(), responses(contract, schemas, binding));
    let access = binding.route.access;
    let without_token = access.is_open.then(|| json!({}));
    let security: Vec<Json> = without_token.into_iter().chain([json!({ TOKEN: access.names() })]).collect();
    operation.insert("security".to_owned(), security.into());
    Json::Object(operation)
}

fn first_sentence(comment: &str) -> String {
    let paragraph = comment.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    paragraph.split_once(". ").map_or(paragraph.as_str(), |(first, _)| first).trim_end_matches('.').to_owned()
}

fn body(schema: Json) -> Json {
    json!({ "required": true, "content": { "application/json": { "schema": schema } } })
}

fn parameters(schemas: &mut Schemas<'_>, binding: &Binding) -> Vec<Json> {
    let mut parameters = Vec::new();
    let mut taken: Vec<String> = Vec::new();
    for (path, fields) in binding.template.fields().zip(&binding.variables) {
        let Some(field) = fields.last() else { continue };
        taken.push(path.to_owned());
        parameters.push(parameter(schemas, "path", plain_name(path), field));
    }
    match &binding.body {
        BodyRule::Whole => {}
        BodyRule::Nothing => in_query(schemas, &binding.route.procedure.input, "", "", &taken, &mut parameters),
        BodyRule::Field(field) => {
            taken.push(field.name().to_owned());
            in_query(schemas, &binding.route.procedure.input, "", "", &taken, &mut parameters);
        }
    }
    if let Some(request_id) = &binding.route.procedure.request_id {
        parameters.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "description": format!("The command's `{}`, where the request itself has none.", request_id.json_name()),
            "schema": { "type": "string" },
        }));
    }
    parameters
}

fn parameter(schemas: &mut Schemas<'_>, place: &str, name: &str, field: &FieldDescriptor) -> Json {
    let mut schema = schemas.field(field);
    let description = schema.as_object_mut().and_then(|schema| schema.remove("description")).unwrap_or_default();
    let mut parameter = json!({ "name": name, "in": place, "required": place == "path", "schema": schema });
    if description.is_string() {
        parameter["description"] = description;
    }
    parameter
}

/// The fields that have a value in text, those of messages with dots between their names.
fn in_query(
    schemas: &mut Schemas<'_>,
    message: &MessageDescriptor,
    path: &str,
    json_path: &str,
    taken: &[String],
    parameters: &mut Vec<Json>,
) {
    for field in message.fields() {
        let (path, json_path) = (below(path, field.name()), below(json_path, field.json_name()));
        if field.is_map() || taken.contains(&path) {
            continue;
        }
        match field.kind() {
            Kind::Message(inner) if well_known(inner.full_name()).is_none() => {
                if !field.is_list() && path.split('.').count() < QUERY_DEPTH_MAX {
                    in_query(schemas, &inner, &path, &json_path, taken, parameters);
                }
            }
            _ => parameters.push(parameter(schemas, "query", &json_path, &field)),
        }
    }
}

fn responses(contract: &Contract, schemas: &mut Schemas<'_>, binding: &Binding) -> Json {
    let procedure = &binding.route.procedure;
    let output = schemas.message(&procedure.output);
    let refusal = json!({ "$ref": "#/components/schemas/google.rpc.Status" });
    let content = if procedure.streams() {
        let line = json!({ "oneOf": [
            { "type": "object", "required": ["result"], "properties": { "result": output.clone() } },
            { "type": "object", "required": ["error"], "properties": { "error": refusal.clone() } },
        ] });
        json!({ "application/x-ndjson": { "schema": line }, "text/event-stream": { "schema": { "type": "string" } } })
    } else {
        json!({ "application/json": { "schema": output } })
    };
    let mut responses = Map::new();
    responses.insert("200".to_owned(), json!({ "description": "The answer.", "content": content }));
    let method = &procedure.descriptor;
    let of_method = |name: &str| {
        let other = method.parent_service().methods().find(|method| method.name() == name)?;
        Some(contract.comments().of_method(&other).to_owned())
    };
    let mut by_status: BTreeMap<u16, Vec<String>> = BTreeMap::from([(400, Vec::new())]);
    for (code, names) in reasons(contract.comments().of_method(method), &of_method).0 {
        let Some(status) = http_status_of_name(&code) else { continue };
        by_status
            .entry(status.as_u16())
            .or_default()
            .extend(names.into_iter().map(|name| format!("`{name}` ({code})")));
    }
    for (status, names) in by_status {
        let description = match (status, names.is_empty()) {
            (400, true) => "Fields of the request are wrong.".to_owned(),
            (400, false) => format!("Fields of the request are wrong, or: {}.", names.join(", ")),
            _ => format!("{}.", names.join(", ")),
        };
        responses.insert(status.to_string(), refused(&description, &refusal));
    }
    responses
        .insert("default".to_owned(), refused("Any other refusal; with `Retry-After` where waiting helps.", &refusal));
    Json::Object(responses)
}

fn refused(description: &str, schema: &Json) -> Json {
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::routes::of_contract;

    fn made() -> Json {
        let table = of_contract();
        document(table.contract(), table.rest())
    }

    #[tokio::test]
    async fn every_method_is_described_and_each_time_the_same() {
        let document = made();
        assert_eq!(document.to_string(), made().to_string());
        let paths = document["paths"].as_object().unwrap();
        let operations: Vec<_> = paths.values().flat_map(|path| path.as_object().unwrap().values()).collect();
        let ids: std::collections::BTreeSet<_> =
            operations.iter().map(|operation| operation["operationId"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), operations.len(), "no two have one name");
        assert!(ids.len() > 70, "{}", ids.len());
        let shapes: Vec<String> = paths.keys().map(|path| shape(path)).collect();
        assert!(
            shapes.iter().all(|one| shapes.iter().filter(|other| *other == one).count() == 1),
            "one in two spellings"
        );
    }

    /// A path without the names of its fields.
    fn shape(path: &str) -> String {
        let (mut shape, mut is_name) = (String::new(), false);
        for letter in path.chars() {
            is_name = (is_name || letter == '{') && letter != '}';
            if !is_name {
                shape.push(letter);
            }
        }
        shape
    }

    #[tokio::test]
    async fn an_operation_says_what_it_takes_answers_and_refuses() {
        let document = made();
        let create = &document["paths"]["/v1/orders"]["post"];
        assert_eq!(create["operationId"], "OrderService_CreateOrder");
        assert_eq!(create["parameters"][0]["name"], "Idempotency-Key");
        let schema = &create["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(schema["$ref"], "#/components/schemas/openorder.order.v1.CreateOrderRequest");
        let reused = create["responses"]["409"]["description"].as_str().unwrap();
        assert!(reused.contains("REQUEST_ID_REUSED"), "{reused}");
        assert!(create["responses"]["400"]["description"].as_str().unwrap().contains("PRICE_CHANGED"));
        assert_eq!(create["security"], json!([{"token": ["customer", "operator", "service"]}]));
        let get = &document["paths"]["/v1/orders/{order_id}"]["get"];
        assert_eq!((&get["parameters"][0]["in"], &get["parameters"][0]["required"]), (&json!("path"), &json!(true)));
        assert!(get["responses"]["404"]["description"].as_str().unwrap().contains("ORDER_NOT_FOUND"));
        let list: Vec<_> = document["paths"]["/v1/orders"]["get"]["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        assert!(list.contains(&"statuses") && list.contains(&"pageToken"), "{list:?}");
        let watch = &document["paths"]["/v1/orders/{order_id}:watch"]["get"]["responses"]["200"]["content"];
        assert!(watch["application/x-ndjson"].is_object() && watch["text/event-stream"].is_object());
        let patch = &document["paths"]["/v1/products/{product_id}"]["patch"]["parameters"];
        let names: Vec<_> = patch.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["product_id", "requestId", "updateMask", "expectedVersion", "Idempotency-Key"]);
    }

    #[tokio::test]
    async fn schemas_are_those_of_the_json_that_is_spoken() {
        let document = made();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let order = &schemas["openorder.order.v1.Order"]["properties"];
        assert_eq!((&order["version"]["type"], &order["version"]["format"]), (&json!("string"), &json!("int64")));
        assert_eq!(order["createTime"]["format"], "date-time");
        assert!(order["version"]["description"].as_str().unwrap().contains("one more for every change"));
        let statuses = schemas["openorder.order.v1.OrderStatus"]["enum"].as_array().unwrap();
        assert!(statuses.contains(&json!("ORDER_STATUS_PAID")));
        let key = &schemas["openorder.product.v1.CreateProductRequest"]["properties"]["initialStock"];
        assert_eq!(key["type"], "integer");
        // What is referred to is there.
        let text = document.to_string();
        for reference in text.split("\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
    }
}
