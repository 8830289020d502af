use std::collections::BTreeMap;

use super::*;

struct Home {
    dir: tempfile::TempDir,
    env: BTreeMap<String, String>,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let env = [("HOME".to_owned(), dir.path().to_str().unwrap().to_owned())].into();
        Self { dir, env }
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.dir.path().join(".config/liaison").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    fn load(&self, global: &Global) -> Result<Settings, Failure> {
        Settings::load(global, &|name| self.env.get(name).cloned().filter(|value| !value.is_empty()))
    }
}

#[test]
fn without_files_there_are_defaults_and_no_tlp() {
    let settings = Home::new().load(&Global::default()).unwrap();
    assert_eq!(settings.profile.value, "default");
    assert_eq!(settings.tlp, Sourced { value: None, origin: Origin::Default });
    assert_eq!(settings.expires.value, Duration::from_secs(7 * 86_400));
    assert_eq!(settings.socket.value, PathBuf::from("/run/liaison/liaisond.sock"));
}

#[test]
fn flag_beats_environment_beats_profile_beats_config_beats_default() {
    let home = Home::new()
        .file("config.toml", "profile = \"live\"\nsocket = \"/c.sock\"\nprecedence = \"priority\"\ntlp = \"green\"\n")
        .file("profiles/live.toml", "socket = \"/p.sock\"\ntlp = \"amber\"\n")
        .env("LIAISON_TLP", "red");
    let settings = home.load(&Global::default()).unwrap();
    assert_eq!(settings.profile.value, "live");
    assert_eq!(settings.socket.value, PathBuf::from("/p.sock"));
    assert_eq!(settings.precedence.value, Precedence::Priority);
    assert_eq!(settings.tlp, Sourced { value: Some(Tlp::Red), origin: Origin::Env("LIAISON_TLP") });

    let global = Global { socket: Some("/f.sock".into()), ..Global::default() };
    assert_eq!(home.load(&global).unwrap().socket.origin, Origin::Flag("--socket"));
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_its_neighbour() {
    let home = Home::new().file("config.toml", "profile = \"live\"\n\nsokcet = \"/x\"\n");
    let failure = home.load(&Global::default()).unwrap_err();
    assert_eq!(failure.exit, 78);
    assert!(
        failure.message.ends_with("config.toml:3: sokcet: unknown key, did you mean 'socket'?"),
        "{}",
        failure.message
    );
}

#[test]
fn a_wrong_value_is_named_with_its_file() {
    let failure = Home::new().file("config.toml", "tlp = \"white\"\n").load(&Global::default()).unwrap_err();
    assert!(failure.message.contains("config.toml:1: tlp: 'white' is not one of clear, green"), "{}", failure.message);
}

#[test]
fn a_profile_that_is_named_must_exist_and_be_a_name() {
    let home = Home::new().file("profiles/live.toml", "");
    let named = |name: &str| Global { profile: Some(name.into()), ..Global::default() };
    assert!(home.load(&named("live")).is_ok());
    assert_eq!(home.load(&named("lvie")).unwrap_err().hint.unwrap(), "did you mean 'live'?");
    assert_eq!(home.load(&named("../x")).unwrap_err().exit, 78);
}
