//! The log as events: a layer of the subscriber that works only while somebody listens.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::DynFilterFn;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::{EventType, Hub};

/// Targets of libraries that would drown our own log (and, through the listener's socket, feed on themselves).
const OURS: &str = "lxd";

/// Makes logging events of what is logged.
pub struct LogLayer {
    hub: Arc<Hub>,
}

/// A layer that publishes the daemon's own log, from debug up, while somebody listens for it.
pub fn log_layer<S>(hub: Arc<Hub>) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let asked = Arc::clone(&hub);
    let filter = DynFilterFn::new(move |metadata: &Metadata<'_>, _: &Context<'_, S>| {
        *metadata.level() <= Level::DEBUG
            && metadata.target().starts_with(OURS)
            && asked.is_wanted(EventType::Logging)
    });
    LogLayer { hub }.with_filter(filter)
}

/// What a logging event says, as the reference sends it.
#[derive(Serialize)]
struct Logged {
    message: String,
    level: &'static str,
    context: BTreeMap<&'static str, String>,
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            _ => "debug",
        };
        let mut logged = Logged {
            message: String::new(),
            level,
            context: BTreeMap::new(),
        };
        event.record(&mut logged);
        self.hub.publish(EventType::Logging, "", &logged);
    }
}

impl Visit for Logged {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.context.insert(field.name(), text);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = value.into();
        } else {
            self.context.insert(field.name(), value.into());
        }
    }
}
