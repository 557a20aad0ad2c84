//! The log: as text for people or as JSON for programs, and how much of it says that something is wrong.

pub use tracing::Level;

use std::{
    fmt,
    str::FromStr,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{
        FmtContext, FormatEvent, FormatFields, MakeWriter,
        format::{Format, Json, Writer},
    },
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
    util::{SubscriberInitExt, TryInitError},
};

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<LogFormat, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(format!("{text:?} is no log format: write text or json")),
        }
    }
}

/// Begins to log to `writer` what `filter` lets through.
///
/// # Errors
/// Somebody logs already.
pub fn begin(
    format: LogFormat,
    filter: EnvFilter,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> Result<(), TryInitError> {
    let lines = tracing_subscriber::fmt::layer().with_target(false).with_ansi(false).with_writer(writer);
    let registry = tracing_subscriber::registry().with(Counting);
    match format {
        LogFormat::Text => registry.with(lines.with_filter(filter)).try_init(),
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).map_event_format(OfNode);
            registry.with(lines.with_filter(filter)).try_init()
        }
    }
}

/// From now on each line of JSON says that it is this node's. The first call counts.
pub(crate) fn set_node(node: u8) {
    // A second server in a process, in tests, logs under the name of the first.
    let _ = NODE.set(node);
}

/// How many reports of that level there were, in the log or not: warnings and errors are counted.
pub(crate) fn reported(level: Level) -> u64 {
    REPORTS[usize::from(level == Level::ERROR)].load(Relaxed)
}

static NODE: OnceLock<u8> = OnceLock::new();
static REPORTS: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

struct Counting;

impl<S: Subscriber> Layer<S> for Counting {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        if level <= Level::WARN {
            REPORTS[usize::from(level == Level::ERROR)].fetch_add(1, Relaxed);
        }
    }
}

/// Lines of JSON that begin with the node.
struct OfNode(Format<Json>);

impl<S, N> FormatEvent<S, N> for OfNode
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    Format<Json>: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        match (NODE.get(), line.strip_prefix('{')) {
            (Some(node), Some(rest)) => write!(writer, "{{\"node\":{node},{rest}"),
            _ => writer.write_str(&line),
        }
    }
}
