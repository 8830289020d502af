//! What every command gets.

use std::cell::{RefCell, RefMut};

use liaison_client::api::client::Client;
use liaison_client::api::model::{Agencies, Id};
use liaison_protocol::Hash;

use crate::cli::{ColorWhen, Global};
use crate::failure::Failure;
use crate::out::Out;
use crate::selector::Selector;
use crate::settings::{Origin, Settings};
use crate::state::{State, terminal_session};
use crate::when::Clock;

/// The daemon, the settings, the streams and the memory of one call.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) settings: Settings,
    pub(crate) out: Out,
    state: RefCell<State>,
}

impl Context {
    pub(crate) fn load(global: &Global) -> Result<Self, Failure> {
        let settings = Settings::load(global, &|name| std::env::var(name).ok().filter(|value| !value.is_empty()))?;
        match settings.color.value {
            ColorWhen::Auto => anstream::ColorChoice::Auto,
            ColorWhen::Always => anstream::ColorChoice::Always,
            ColorWhen::Never => anstream::ColorChoice::Never,
        }
        .write_global();
        Ok(Self {
            client: Client::new(&settings.socket.value),
            out: Out { format: global.format(), quiet: global.quiet, verbose: global.verbose },
            state: RefCell::new(State::open(&settings.places.state, &memory_name(&settings), terminal_session())),
            settings,
        })
    }

    pub(crate) fn clock(&self) -> Clock {
        Clock::system()
    }

    /// The id, or its beginning, that a selector names.
    pub(crate) fn resolve(&self, selector: &Selector) -> Result<String, Failure> {
        selector.resolve(&self.state.borrow())
    }

    /// `@last` names this message from now on.
    pub(crate) fn remember_sent(&self, id: Id) {
        self.state().set_last(id);
    }

    /// `@1`, `@2` … name these messages from now on. Called before they are printed: a reader that leaves early
    /// (`| head -2`) has seen their numbers. A program's listing (`--json`) changes nothing for people.
    pub(crate) fn remember_listing(&self, ids: &[Id]) {
        if !self.out.is_json() {
            self.state().set_listing(ids.to_vec());
        }
    }

    /// Never held across an await.
    pub(crate) fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    pub(crate) async fn agencies(&self) -> Result<Agencies, Failure> {
        Ok(self.client.agencies().await?)
    }
}

/// Each daemon's messages are remembered apart: by the profile, and by a socket that was named past it.
fn memory_name(settings: &Settings) -> String {
    let profile = &settings.profile.value;
    match settings.socket.origin {
        Origin::Flag(_) | Origin::Env(_) => {
            let socket = std::path::absolute(&settings.socket.value).unwrap_or_else(|_| settings.socket.value.clone());
            format!(
                "{profile}-{}",
                Hash::of(&[socket.as_os_str().as_encoded_bytes()]).to_string().get(..16).unwrap_or_default()
            )
        }
        Origin::File(_) | Origin::Default => profile.clone(),
    }
}
