//! The doors: each a translation of commands and events, and nothing else.

pub mod construct;
pub mod mcp;
pub(crate) mod native;
pub mod openai;
pub mod orra;
pub mod oxios;
pub(crate) mod shared;

use std::{net::SocketAddr, sync::Arc};

use axum::Router;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::{
    construct::Construct,
    mcp::Mcp,
    openai::Openai,
    orra::Orra,
    oxios::Oxios,
    shared::{Access, Dialect, Door, Places, mount, own_listener},
};
use crate::{App, configuration::Effect};

/// The doors besides the native one.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Doors {
    /// Clients of Construct.
    pub construct: construct::Settings,
    /// Clients of the Model Context Protocol.
    pub mcp: mcp::Settings,
    /// Clients of OpenAI.
    pub openai: openai::Settings,
    /// Clients of orra.
    pub orra: orra::Settings,
    /// Clients of Oxios.
    pub oxios: oxios::Settings,
    /// Sessions of Oxios' clients that nobody came back to.
    pub prune: oxios::Prune,
}

/// What is wrong with a setting of a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingFault {
    /// The keys that lead to it, the door's name first.
    pub path: Vec<String>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Doors {
    /// What is wrong with the settings, beyond what their types say.
    pub fn faults(&self) -> Vec<SettingFault> {
        let rooms = Rooms::new(self);
        let mut places = Places::default();
        places.check(rooms.construct.as_deref());
        places.check(rooms.mcp.as_deref());
        places.check(rooms.openai.as_deref());
        places.check(rooms.orra.as_deref());
        places.check(rooms.oxios.as_deref());
        places.faults
    }

    /// What a change of a door's setting leads to, by the keys that lead to it, the door's name first. `None` for
    /// those that say where a door is and whom it lets in: they are the operator's alone.
    pub fn effect(path: &[&str]) -> Option<Effect> {
        match path {
            ["construct" | "mcp" | "openai" | "orra", "limits", "inputs_per_minute"] => Some(Effect::Applied),
            ["construct" | "mcp" | "openai" | "orra", "limits", _] => Some(Effect::Restart),
            ["prune", _] => Some(Effect::Applied),
            ["oxios", rest @ ..] => oxios::Settings::effect(rest),
            _ => None,
        }
    }

    /// The same doors on the main listener only.
    #[must_use]
    pub fn without_listeners(mut self) -> Self {
        self.construct.listen = None;
        self.mcp.listen = None;
        self.openai.listen = None;
        self.orra.listen = None;
        self.oxios.listen = None;
        self
    }
}

/// What each door that is open keeps as long as the app lives.
pub(crate) struct Rooms {
    construct: Option<Arc<Construct>>,
    mcp: Option<Arc<Mcp>>,
    openai: Option<Arc<Openai>>,
    orra: Option<Arc<Orra>>,
    oxios: Option<Arc<Oxios>>,
}

impl Rooms {
    pub(crate) fn new(doors: &Doors) -> Self {
        let Doors { construct, mcp, openai, orra, oxios, prune } = doors;
        Self {
            construct: construct.enabled.then(|| Arc::new(Construct::new(construct.clone()))),
            mcp: mcp.enabled.then(|| Arc::new(Mcp::new(mcp.clone()))),
            openai: openai.enabled.then(|| Arc::new(Openai::new(openai.clone()))),
            orra: orra.enabled.then(|| Arc::new(Orra::new(orra.clone()))),
            oxios: oxios.enabled.then(|| Arc::new(Oxios::new(oxios.clone(), *prune))),
        }
    }

    /// Puts in force what can change while the doors are open.
    pub(crate) fn change(&self, doors: &Doors) {
        if let Some(construct) = &self.construct {
            construct.inputs.change(doors.construct.limits.inputs_per_minute);
        }
        if let Some(mcp) = &self.mcp {
            mcp.rate.change(doors.mcp.limits.inputs_per_minute);
        }
        if let Some(openai) = &self.openai {
            openai.rate.change(doors.openai.limits.inputs_per_minute);
        }
        if let Some(orra) = &self.orra {
            orra.rate.change(doors.orra.limits.inputs_per_minute);
        }
        if let Some(oxios) = &self.oxios {
            oxios.change(&doors.oxios, doors.prune);
        }
    }

    /// What doors do when nobody asks, until the server goes away.
    pub(crate) async fn keep_house(&self, app: &App) {
        if let Some(oxios) = &self.oxios {
            oxios::keep_house(Door::new(app, oxios)).await;
        }
    }

    /// The doors beneath their prefixes, besides everything else on the main listener.
    pub(crate) fn mount(&self, router: Router, app: &App) -> Router {
        let router = mount(router, app, self.construct.as_ref());
        let router = mount(router, app, self.mcp.as_ref());
        let router = mount(router, app, self.openai.as_ref());
        let router = mount(router, app, self.orra.as_ref());
        mount(router, app, self.oxios.as_ref())
    }

    /// The names of the doors that are open.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        let open = [
            self.construct.as_ref().map(|_| Construct::NAME),
            self.mcp.as_ref().map(|_| Mcp::NAME),
            self.openai.as_ref().map(|_| Openai::NAME),
            self.orra.as_ref().map(|_| Orra::NAME),
            self.oxios.as_ref().map(|_| Oxios::NAME),
        ];
        open.into_iter().flatten()
    }

    /// Doors with listeners of their own.
    pub(crate) fn listeners(&self) -> Vec<(&'static str, SocketAddr)> {
        fn wish<D: Dialect>(it: Option<&Arc<D>>) -> Option<(&'static str, SocketAddr)> {
            Some((D::NAME, it?.place().listen?))
        }
        let wishes = [
            wish(self.construct.as_ref()),
            wish(self.mcp.as_ref()),
            wish(self.openai.as_ref()),
            wish(self.orra.as_ref()),
            wish(self.oxios.as_ref()),
        ];
        wishes.into_iter().flatten().collect()
    }

    /// A door at the root of its own listener.
    pub(crate) fn at_root(&self, name: &str, app: &App, local: SocketAddr) -> Option<Router> {
        fn root<D: Dialect>(name: &str, app: &App, it: Option<&Arc<D>>, local: SocketAddr) -> Option<Router> {
            it.filter(|_| D::NAME == name).map(|it| own_listener(app, it, local))
        }
        root(name, app, self.construct.as_ref(), local)
            .or_else(|| root(name, app, self.mcp.as_ref(), local))
            .or_else(|| root(name, app, self.openai.as_ref(), local))
            .or_else(|| root(name, app, self.orra.as_ref(), local))
            .or_else(|| root(name, app, self.oxios.as_ref(), local))
    }
}

/// One method of one path of a door, as tests and documents list it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorRoute {
    /// The door.
    pub door: &'static str,
    /// The method; `None` for all.
    pub method: Option<&'static str>,
    /// The path on the main listener, parameters in braces.
    pub path: String,
    /// It needs no key.
    pub public: bool,
}

/// Every route of every door with these settings.
pub fn door_routes(doors: &Doors) -> Vec<DoorRoute> {
    fn list<D: Dialect>(it: Option<&Arc<D>>) -> impl Iterator<Item = DoorRoute> {
        let routes = it.map(|it| {
            let prefix = it.place().prefix;
            it.paths().into_iter().map(move |path| DoorRoute {
                door: D::NAME,
                method: path.method,
                path: format!("{prefix}{}", path.path).trim_end_matches('/').to_owned(),
                public: path.access == Access::Public,
            })
        });
        routes.into_iter().flatten()
    }
    let rooms = Rooms::new(doors);
    let Rooms { construct, mcp, openai, orra, oxios } = &rooms;
    let first = list(construct.as_ref()).chain(list(mcp.as_ref())).chain(list(openai.as_ref()));
    first.chain(list(orra.as_ref())).chain(list(oxios.as_ref())).collect()
}
