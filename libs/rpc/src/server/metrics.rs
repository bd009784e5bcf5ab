//! `rpc.server.call.duration` by method and code, recorded without allocating.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use openorder_telemetry::api::{Histogram, KeyValue};
use openorder_telemetry::meter;
use tonic::Code;

use crate::status::code_name;

/// Methods with a label of their own; a caller that makes names up cannot fill the memory.
const METHODS_MAX: usize = 512;
const CODES: usize = 17;

/// The durations of a server's calls.
#[derive(Debug)]
pub struct CallMetrics {
    duration: Histogram<f64>,
    methods: RwLock<HashMap<Box<str>, Arc<MethodMetrics>>>,
    other: Arc<MethodMetrics>,
}

impl Default for CallMetrics {
    fn default() -> Self {
        let duration = meter()
            .f64_histogram("rpc.server.call.duration")
            .with_unit("s")
            .with_description("Duration of incoming calls, until their last byte.")
            .build();
        Self { duration, methods: RwLock::default(), other: Arc::new(MethodMetrics::new("_OTHER")) }
    }
}

impl CallMetrics {
    /// The labels of a method (`package.Service/Method`); those of `_OTHER` until it is known to exist.
    #[must_use]
    pub fn method(&self, name: &str) -> Arc<MethodMetrics> {
        let methods = self.methods.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(methods.get(name).unwrap_or(&self.other))
    }

    /// Gives a method that exists labels of its own.
    pub fn learn(&self, name: &str) {
        let mut methods = self.methods.write().unwrap_or_else(PoisonError::into_inner);
        if methods.len() < METHODS_MAX && !methods.contains_key(name) {
            methods.insert(name.into(), Arc::new(MethodMetrics::new(name)));
        }
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
