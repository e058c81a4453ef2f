//! The manager: all groups, kept in line with the configuration.
//!
//! ```text
//!  rules, settings --apply--> groups, each with a task: [schedule] --slot--> [evaluate] --> storage, sinks
//!                                                          '--after two evaluations--> [restore]
//! ```
//!
//! A new configuration is applied as a difference: groups that did not change are not touched. Evaluations block, so they
//! run where blocking is allowed; the tasks only wait for their slots.

mod driver;
mod options;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::warn;

pub use options::{ApplyError, RuleManagerOptions, RuleSettings, StartError};

use driver::Driver;

use crate::evaluate::{Evaluator, Places};
use crate::group::{Definition, Group};
use crate::metrics::RuleMetrics;
use crate::restore::Patience;
use crate::rule::Rules;
use crate::status::{AlertStatus, GroupStatus};

/// Evaluates all rules of all groups. Dropping it stops everything at once; [`stop`](Self::stop) lets evaluations end.
pub struct RuleManager {
    options: RuleManagerOptions,
    evaluator: Arc<Evaluator>,
    runtime: Handle,
    /// What the last configuration said; templates see a change at once.
    settings: watch::Sender<Arc<RuleSettings>>,
    state: Mutex<State>,
    /// One configuration at a time.
    applying: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// By file and name.
    groups: BTreeMap<(String, String), Running>,
    /// Groups that are gone and will end their series.
    ending: Vec<(watch::Sender<bool>, JoinHandle<()>)>,
    /// The first configuration was applied.
    started: bool,
    stopped: bool,
}

/// A group with the task that evaluates it.
struct Running {
    group: Arc<Group>,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl Running {
    /// The task, told to end after the evaluation under way.
    fn halt(&mut self) -> Option<JoinHandle<()>> {
        self.stop.send_replace(true);
        self.task.take()
    }
}

impl RuleManager {
    /// A manager without groups. Make it when the storage is ready.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn new(options: RuleManagerOptions) -> Result<Self, StartError> {
        let runtime = Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        let evaluator = Arc::new(Evaluator {
            queries: Arc::clone(&options.queries),
            appendable: Arc::clone(&options.appendable),
            clock: Arc::clone(&options.clock),
            sinks: options.sinks.clone(),
            resend_delay: options.resend_delay,
            metrics: RuleMetrics::register(&options.registry)?,
            places: (options.concurrency > 0).then(|| Places::new(options.concurrency)),
        });
        let settings = watch::Sender::new(Arc::default());
        Ok(Self { options, evaluator, runtime, settings, state: Mutex::default(), applying: Default::default() })
    }

    /// Applies a configuration: these rules and no others. Groups that did not change run on; changed ones end their
    /// evaluation, hand over their state and begin anew; the series of groups that are gone are ended after two
    /// intervals, if no other group has taken them over by then. It waits for the evaluations under way in groups that
    /// change.
    ///
    /// # Errors
    ///
    /// See [`ApplyError`]; then nothing changes.
    pub async fn apply(&self, rules: Rules, settings: RuleSettings) -> Result<(), ApplyError> {
        let _one_at_a_time = self.applying.lock().await;
        let wanted = definitions(rules, &settings)?;
        let (halted, first) = {
            let mut state = self.state.lock();
            if state.stopped {
                return Err(ApplyError::Stopped);
            }
            self.settings.send_replace(Arc::new(settings));
            let changed = |key: &(String, String), running: &Running| {
                wanted.get(key).is_none_or(|wanted| *wanted != running.group.definition)
            };
            let groups = state.groups.iter_mut().filter(|(key, running)| changed(key, running));
            let halted: Vec<_> = groups.filter_map(|(_, running)| running.halt()).collect();
            (halted, !std::mem::replace(&mut state.started, true))
        };
        for task in halted {
            // A task that panicked has said so already.
            let _ = task.await;
        }
        let mut state = self.state.lock();
        if state.stopped {
            return Err(ApplyError::Stopped);
        }
        let mut old = std::mem::take(&mut state.groups);
        let restores = first || self.options.restore_new_groups;
        for (key, definition) in wanted {
            let running = match old.remove(&key) {
                Some(same) if same.task.is_some() => same,
                predecessor => self.begin(definition, predecessor.map(|running| running.group), restores),
            };
            state.groups.insert(key, running);
        }
        for running in old.into_values() {
            self.evaluator.metrics.forget(&running.group.definition);
            let ending = self.end_later(&running.group);
            state.ending.push(ending);
        }
        state.ending.retain(|(_, task)| !task.is_finished());
        Ok(())
    }

    /// A group begins, with the state of the one that it replaces.
    fn begin(&self, definition: Definition, predecessor: Option<Arc<Group>>, restores: bool) -> Running {
        self.evaluator.metrics.group(&definition);
        let group = Arc::new(Group::new(definition, !restores));
        if let Some(predecessor) = predecessor {
            group.inherit(&predecessor);
        }
        let (stop, stopped) = watch::channel(false);
        let driver = Driver {
            group: Arc::clone(&group),
            evaluator: Arc::clone(&self.evaluator),
            settings: self.settings.subscribe(),
            storage: self.options.queryable.clone(),
            patience: Patience {
                outage_tolerance: self.options.outage_tolerance,
                grace_period: self.options.grace_period,
            },
            stopped,
        };
        Running { group, stop, task: Some(self.runtime.spawn(driver.run(restores))) }
    }

    /// Ends the series of a group that is gone, once others had two intervals to take them over. What they wrote since is
    /// newer than the end and stays.
    fn end_later(&self, group: &Group) -> (watch::Sender<bool>, JoinHandle<()>) {
        let series = group.take_series();
        let (interval, offset) = (group.definition.interval, group.definition.query_offset);
        let at = self.options.clock.now().saturating_sub(offset);
        let evaluator = Arc::clone(&self.evaluator);
        let (stop, mut stopped) = watch::channel(false);
        let task = async move {
            tokio::select! {
                () = tokio::time::sleep(2 * interval) => {}
                _ = stopped.changed() => return,
            }
            let _ = tokio::task::spawn_blocking(move || evaluator.end(&series, at)).await;
        };
        (stop, self.runtime.spawn(task))
    }

    /// All groups, by file and name.
    pub fn groups(&self) -> Vec<GroupStatus> {
        self.state.lock().groups.values().map(|running| running.group.status()).collect()
    }

    /// All alerts that are pending or firing, by group, rule and labels.
    pub fn alerts(&self) -> Vec<AlertStatus> {
        self.groups().into_iter().flat_map(|group| group.rules).flat_map(|rule| rule.alerts).collect()
    }

    /// Stops: no evaluation begins any more, those under way end. Series are not ended: whoever starts next goes on with
    /// them.
    pub async fn stop(&self) {
        let tasks: Vec<JoinHandle<()>> = {
            let mut state = self.state.lock();
            state.stopped = true;
            let ending = std::mem::take(&mut state.ending);
            let ending = ending.into_iter().map(|(stop, task)| {
                stop.send_replace(true);
                task
            });
            let mut tasks: Vec<_> = ending.collect();
            tasks.extend(state.groups.values_mut().filter_map(Running::halt));
            tasks
        };
        for task in tasks {
            let _ = task.await;
        }
    }
}

impl std::fmt::Debug for RuleManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RuleManager").field("groups", &self.state.lock().groups.len()).finish_non_exhaustive()
    }
}

type Definitions = BTreeMap<(String, String), Definition>;

fn definitions(rules: Rules, settings: &RuleSettings) -> Result<Definitions, ApplyError> {
    if settings.interval.is_zero() {
        return Err(ApplyError::NoInterval);
    }
    let mut files = BTreeSet::new();
    let mut wanted = Definitions::new();
    for file in rules.files {
        if !files.insert(file.name.clone()) {
            return Err(ApplyError::RepeatedFile(file.name));
        }
        if file.has_more_documents {
            warn!(file = file.name, "Rule file has more than one YAML document, only the first one is read");
        }
        for group in file.groups {
            let key = (file.name.clone(), group.name.clone());
            if wanted.contains_key(&key) {
                return Err(ApplyError::RepeatedGroup { file: file.name, group: group.name });
            }
            wanted.insert(key, Definition::new(&file.name, group, settings));
        }
    }
    Ok(wanted)
}
