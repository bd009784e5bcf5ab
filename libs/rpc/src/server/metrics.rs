//! `rpc.server.call.duration` by method and code, recorded without allocating.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use openorder_telemetry::api::{Histogram, KeyValue};
use openorder_telemetry::meter;
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::Code;

use crate::status::code_name;

/// What stands for every method that is not in the contract (OpenTelemetry's conventions for RPC): what a caller makes
/// up becomes no label and no name of a span.
pub(crate) const OTHER: &str = "_OTHER";
const CODES: usize = 17;
/// Methods that every server may have, and that are not in the contract.
const REFLECTION: [&str; 2] = [
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// The methods of the contract, of health and of reflection.
static CONTRACT: LazyLock<Vec<String>> = LazyLock::new(|| {
    let sets = [openorder_proto::FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET];
    let described = sets.iter().flat_map(|descriptors| methods_of(descriptors));
    described.chain(REFLECTION.map(str::to_owned)).collect()
});

/// The names (`package.Service/Method`) of all methods in a descriptor set; none, if it does not decode.
fn methods_of(descriptors: &[u8]) -> Vec<String> {
    let set = FileDescriptorSet::decode(descriptors).unwrap_or_default();
    let services = set.file.iter().flat_map(|file| file.service.iter().map(move |service| (file.package(), service)));
    services
        .flat_map(|(package, service)| {
            let methods = service.method.iter();
            methods.map(move |method| format!("{package}.{}/{}", service.name(), method.name()))
        })
        .collect()
}

/// The durations of a server's calls.
#[derive(Debug)]
pub struct CallMetrics {
    duration: Histogram<f64>,
    methods: HashMap<Box<str>, Arc<MethodMetrics>>,
    other: Arc<MethodMetrics>,
}

impl CallMetrics {
    /// Those of the methods of the contract, of health and of reflection.
    #[must_use]
    pub fn of_contract() -> Self {
        Self::of(CONTRACT.iter().map(String::as_str))
    }

    /// Those of these methods (`package.Service/Method`); all others have the labels of one.
    pub fn of<'a>(methods: impl IntoIterator<Item = &'a str>) -> Self {
        let duration = meter()
            .f64_histogram("rpc.server.call.duration")
            .with_unit("s")
            .with_description("Duration of incoming calls, until their last byte.")
            .build();
        let methods = methods.into_iter().map(|name| (name.into(), Arc::new(MethodMetrics::new(name)))).collect();
        Self { duration, methods, other: Arc::new(MethodMetrics::new(OTHER)) }
    }

    /// The labels of a method.
    #[must_use]
    pub fn method(&self, name: &str) -> &Arc<MethodMetrics> {
        self.methods.get(name).unwrap_or(&self.other)
    }

    /// Whether the labels are those of methods that are not known.
    #[must_use]
    pub fn is_other(&self, method: &Arc<MethodMetrics>) -> bool {
        Arc::ptr_eq(method, &self.other)
    }

    /// Notes a call that ended. It is an OpenTelemetry code number, as `grpc-status` has it.
    pub(crate) fn record(&self, method: &MethodMetrics, code: Code, duration: Duration) {
        self.duration.record(duration.as_secs_f64(), method.labels(code));
    }
}

/// The labels of one method, by code.
#[derive(Debug)]
pub struct MethodMetrics {
    name: Arc<str>,
    labels: [OnceLock<[KeyValue; 3]>; CODES],
}

impl MethodMetrics {
    fn new(name: &str) -> Self {
        Self { name: name.into(), labels: std::array::from_fn(|_| OnceLock::new()) }
    }

    fn labels(&self, code: Code) -> &[KeyValue] {
        let index = (code as usize).min(CODES - 1);
        self.labels[index].get_or_init(|| {
            [
                KeyValue::new("rpc.system.name", "grpc"),
                KeyValue::new("rpc.method", Arc::clone(&self.name)),
                KeyValue::new("rpc.response.status_code", code_name(code)),
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_is_known_and_nothing_else() {
        let metrics = CallMetrics::of_contract();
        let known = |name: &str| !metrics.is_other(metrics.method(name));
        assert!(known("openorder.order.v1.OrderService/CreateOrder") && known("grpc.health.v1.Health/Check"));
        assert!(CONTRACT.len() > 20 && REFLECTION.into_iter().all(known));
        assert!(!known("openorder.order.v1.OrderService/CreateOrders") && !known(""));
    }
}
