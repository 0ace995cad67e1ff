//! All models an operator configured, by name.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use moongate_core::{Model, ModelInfo, Models};
use moongate_protocol::ModelName;
use rustls_pki_types::CertificateDer;

use crate::{
    call::HttpModel,
    config::ProviderConfig,
    demo::{DEMO_MODEL, Demo},
    fallback::Fallback,
    http::{self, Trust},
    prices::PriceTable,
    probe::{self, ProbeFault},
    provider::{ConfigFault, Provider},
    retry::Retrying,
};

/// All configured providers, and the demo model. Models are named `provider/model`; what follows the first `/`
/// is the provider's own name of the model.
pub struct Registry {
    providers: BTreeMap<String, Known>,
    prices: PriceTable,
    demo: Option<Arc<Demo>>,
}

/// A provider and what is listed of it.
struct Known {
    provider: Arc<Provider>,
    host: String,
    models: Vec<String>,
}

impl Registry {
    /// A registry of these providers; all faults are reported together.
    pub fn new(
        configs: impl IntoIterator<Item = ProviderConfig>,
        prices: PriceTable,
    ) -> Result<Self, Vec<ConfigFault>> {
        Self::build(configs, prices, None)
    }

    /// As [`Registry::new`], trusting these certificate authorities instead of the machine's.
    pub fn with_roots(
        configs: impl IntoIterator<Item = ProviderConfig>,
        prices: PriceTable,
        roots: Vec<CertificateDer<'static>>,
    ) -> Result<Self, Vec<ConfigFault>> {
        Self::build(configs, prices, http::trust(roots).as_ref())
    }

    fn build(
        configs: impl IntoIterator<Item = ProviderConfig>,
        prices: PriceTable,
        trust: Option<&Trust>,
    ) -> Result<Self, Vec<ConfigFault>> {
        let mut providers = BTreeMap::new();
        let mut faults = Vec::new();
        for config in configs {
            let name = config.name.clone();
            if !is_name(&name) {
                faults.push(ConfigFault::Name(name));
                continue;
            }
            let (host, models) = (config.endpoint.host().to_owned(), config.models.clone());
            match Provider::new(&config, trust.cloned()) {
                Ok(_) if providers.contains_key(&name) => faults.push(ConfigFault::Duplicate(name)),
                Ok(provider) => {
                    providers.insert(name, Known { provider: Arc::new(provider), host, models });
                }
                Err(fault) => faults.push(fault),
            }
        }
        let demo = DEMO_MODEL.parse().ok().map(|name| Arc::new(Demo::new(name)));
        if faults.is_empty() { Ok(Self { providers, prices, demo }) } else { Err(faults) }
    }

    /// The first model with the others standing in for it, in order. Unknown others are left out; `None` if the
    /// first is unknown.
    pub fn chain(&self, first: &ModelName, others: &[ModelName]) -> Option<Arc<dyn Model>> {
        let first = self.get(first)?;
        let others: Vec<_> = others.iter().filter_map(|name| self.get(name)).collect();
        Some(if others.is_empty() { first } else { Arc::new(Fallback::new(first, others)) })
    }

    /// The configured providers' names.
    pub fn providers(&self) -> impl Iterator<Item = &str> {
        self.providers.keys().map(String::as_str)
    }

    /// Asks a provider which models it has; `None` if there is no such provider. Bounded in time and size.
    pub async fn list_models(&self, provider: &str) -> Option<Result<Vec<String>, ProbeFault>> {
        let known = self.providers.get(provider)?;
        Some(probe::list_models(&known.provider).await)
    }

    fn info(&self, known: &Known, name: ModelName, model: &str) -> ModelInfo {
        let (price, context_window) = self.prices.find(&name, &known.host, model);
        ModelInfo { name, context_window, price }
    }
}

impl Models for Registry {
    fn get(&self, name: &ModelName) -> Option<Arc<dyn Model>> {
        if name.as_str() == DEMO_MODEL {
            return self.demo.clone().map(|demo| demo as Arc<dyn Model>);
        }
        let (provider, model) = name.as_str().split_once('/')?;
        let known = self.providers.get(provider).filter(|_| !model.is_empty())?;
        let once = Arc::new(HttpModel {
            provider: Arc::clone(&known.provider),
            info: Arc::new(self.info(known, name.clone(), model)),
            model: model.to_owned(),
        });
        let budget = Arc::clone(&known.provider.budget);
        Some(Arc::new(Retrying::new(once, known.provider.retry, budget)))
    }

    fn get_with_fallbacks(&self, name: &ModelName, fallbacks: &[ModelName]) -> Option<Arc<dyn Model>> {
        match (self.chain(name, fallbacks), fallbacks) {
            (None, [next, rest @ ..]) => self.get_with_fallbacks(next, rest),
            (found, _) => found,
        }
    }

    fn list(&self) -> Vec<ModelInfo> {
        let mut infos: Vec<ModelInfo> = self.demo.iter().map(|demo| demo.info().clone()).collect();
        for (name, known) in &self.providers {
            let own = self.prices.overridden().filter_map(|model| model.as_str().split_once('/'));
            let own = own.filter(|(provider, _)| provider == name).map(|(_, model)| model);
            let models: BTreeSet<&str> = PriceTable::models(&known.host)
                .chain(known.models.iter().map(String::as_str))
                .chain(own)
                .collect();
            for model in models {
                if let Ok(full) = format!("{name}/{model}").parse() {
                    infos.push(self.info(known, full, model));
                }
            }
        }
        infos
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    !name.is_empty() && name.len() <= 64 && name != "builtin" && name.bytes().all(allowed)
}
