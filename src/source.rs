//! Where the configuration comes from: a file or code, and jobs that were added in code.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Config, ConfigError};
use crate::error::Error;
use crate::job::Job;

/// The value of a variable of the environment.
type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Where the configuration comes from, now and at each reload.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) file: Option<PathBuf>,
    pub(crate) base: Config,
    pub(crate) jobs: Vec<Job>,
    pub(crate) environment: Option<Environment>,
}

/// Files and what they hold; nothing if they cannot be read.
pub(crate) type Contents = Vec<(PathBuf, Option<Vec<u8>>)>;

impl Source {
    /// Reads the configuration. This touches the disk.
    ///
    /// # Errors
    ///
    /// The file cannot be used, or a job that was added in code cannot be.
    pub(crate) fn load(&self) -> Result<Config, Error> {
        let mut config = match &self.file {
            Some(path) => Config::load(path)?,
            None => self.base.clone(),
        };
        if let Some(environment) = &self.environment {
            config.expand_external_labels(&**environment);
        }
        for job in &self.jobs {
            let mut job = job.config().clone();
            job.validate(&config.global.scrape)?;
            config.scrape_configs.push(job);
        }
        match config.unsupported() {
            sections if sections.is_empty() => Ok(config),
            sections => Err(ConfigError::Unsupported(sections).into()),
        }
    }

    /// What the files hold now that the configuration in force was read from: two are equal if nothing changed. This
    /// touches the disk.
    pub(crate) fn contents(&self, config: &Config) -> Contents {
        let paths = self.file.iter().cloned().chain(config.files());
        paths.map(|path| (path.clone(), std::fs::read(path).ok())).collect()
    }

    /// The file, if the configuration comes from one.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}
