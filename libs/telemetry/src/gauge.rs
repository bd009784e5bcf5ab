//! Gauges that say what is true now: a series ends with its owner.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use opentelemetry::{KeyValue, metrics::AsyncInstrument};

use crate::meter;

/// A gauge whose series are owned. A gauge of OpenTelemetry keeps its last value for ever, also when whoever recorded it
/// has lost what it told of.
#[derive(Debug)]
pub struct OwnedGauge {
    values: Arc<Mutex<Vec<Value>>>,
    next: AtomicU64,
}

/// The value of one owner, shown from the first [`Series::set`] until [`Series::end`] or its drop. Where several owners
/// have the same labels, the largest value is shown.
#[derive(Debug)]
pub struct Series {
    values: Arc<Mutex<Vec<Value>>>,
    id: u64,
    labels: Vec<KeyValue>,
}

#[derive(Debug)]
struct Value {
    id: u64,
    labels: Vec<KeyValue>,
    value: f64,
}

impl OwnedGauge {
    /// A gauge of this process's meter, without a series yet. `unit` is one of UCUM, such as `s`, or a noun in braces.
    #[must_use]
    pub fn new(name: &'static str, unit: &'static str, description: &'static str) -> Self {
        let values: Arc<Mutex<Vec<Value>>> = Arc::default();
        let shown = Arc::clone(&values);
        // The meter keeps the callback.
        let _instrument = meter()
            .f64_observable_gauge(name)
            .with_unit(unit)
            .with_description(description)
            .with_callback(move |observer| show(&lock(&shown), observer))
            .build();
        Self { values, next: AtomicU64::new(0) }
    }

    /// A series of the caller's own, not shown yet.
    #[must_use]
    pub fn series(&self, labels: impl Into<Vec<KeyValue>>) -> Series {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        Series { values: Arc::clone(&self.values), id, labels: labels.into() }
    }
}

impl Series {
    /// Shows this value from now on.
    pub fn set(&self, value: f64) {
        let mut values = lock(&self.values);
        match values.iter_mut().find(|known| known.id == self.id) {
            Some(known) => known.value = value,
            None => values.push(Value { id: self.id, labels: self.labels.clone(), value }),
        }
    }

    /// Shows no value until the next one is set: it is not known.
    pub fn end(&self) {
        lock(&self.values).retain(|known| known.id != self.id);
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        self.end();
    }
}

fn show(values: &[Value], observer: &dyn AsyncInstrument<f64>) {
    for (index, value) in values.iter().enumerate() {
        let same = |other: &&Value| other.labels == value.labels;
        if values[..index].iter().any(|other| other.labels == value.labels) {
            continue;
        }
        let largest = values[index..].iter().filter(same).map(|other| other.value).fold(f64::MIN, f64::max);
        observer.observe(largest, &value.labels);
    }
}

fn lock(values: &Mutex<Vec<Value>>) -> MutexGuard<'_, Vec<Value>> {
    // Nothing under this lock can leave the list half changed.
    values.lock().unwrap_or_else(PoisonError::into_inner)
}
