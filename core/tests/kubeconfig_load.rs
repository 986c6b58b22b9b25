//! Where the configuration is looked for, and what is said if there is none.
#![cfg(feature = "kubeconfig")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use kubewire::config::{
    Auth, Config, Kubeconfig, Loader, Material, Overrides, SearchPaths, in_cluster, load,
};
use kubewire::{Error, ErrorKind};

/// Files, variables and a home directory, and which files were asked for.
#[derive(Default)]
struct World {
    files: BTreeMap<PathBuf, Vec<u8>>,
    env: BTreeMap<String, OsString>,
    home: Option<PathBuf>,
}

impl World {
    fn file(mut self, path: &str, content: &str) -> Self {
        self.files.insert(path.into(), content.into());
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    fn home(mut self, home: &str) -> Self {
        self.home = Some(home.into());
        self
    }

    fn pod(self) -> Self {
        self.env("KUBERNETES_SERVICE_HOST", "10.96.0.1")
            .env("KUBERNETES_SERVICE_PORT", "443")
            .file(&service_account("ca.crt"), "-----BEGIN")
            .file(&service_account("namespace"), "team-pod\n")
    }

    fn load(&self, overrides: Overrides) -> (Result<Config, Error>, Vec<PathBuf>) {
        let mut asked = Vec::new();
        let read = |path: &Path| {
            asked.push(path.to_owned());
            if path.ends_with("forbidden") {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            self.files
                .get(path)
                .cloned()
                .ok_or_else(|| io::ErrorKind::NotFound.into())
        };
        let env = |name: &str| self.env.get(name).cloned();
        let config = load(read, env, self.home.as_deref(), overrides);
        (config, asked)
    }

    fn config(&self) -> Config {
        self.load(Overrides::default()).0.unwrap()
    }

    fn error(&self) -> String {
        let error = self.load(Overrides::default()).0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    }
}

fn service_account(file: &str) -> String {
    format!("/var/run/secrets/kubernetes.io/serviceaccount/{file}")
}

/// A whole kubeconfig for one server, in the namespace of the same name.
fn kubeconfig(server: &str) -> String {
    format!(
        "clusters: [{{name: c, cluster: {{server: 'https://{server}'}}}}]\n\
         contexts: [{{name: x, context: {{cluster: c, namespace: {server}}}}}]\n\
         current-context: x\n"
    )
}

fn variable(files: &[&str]) -> String {
    let paths = std::env::join_paths(files).unwrap();
    paths.into_string().unwrap()
}

#[test]
fn search_paths() {
    let paths = |variable: Option<&str>, home: Option<&str>| {
        Kubeconfig::search_paths(variable.map(OsString::from).as_deref(), home.map(Path::new))
    };
    let list = |files: &[&str]| SearchPaths::Variable(files.iter().map(PathBuf::from).collect());
    let home = Some("/home/me");
    for (env, home, expected) in [
        (
            Some(variable(&["/a", "", "/b", "/a", "c d"])),
            home,
            list(&["/a", "/b", "c d"]),
        ),
        (Some(variable(&["", ""])), home, list(&[])),
        (
            Some(String::new()),
            home,
            SearchPaths::Home(Path::new("/home/me").join(".kube").join("config")),
        ),
        (
            None,
            home,
            SearchPaths::Home(Path::new("/home/me").join(".kube").join("config")),
        ),
        (None, Some(""), SearchPaths::Nowhere),
        (None, None, SearchPaths::Nowhere),
    ] {
        assert_eq!(paths(env.as_deref(), home), expected);
    }
}

#[test]
fn the_variable_beats_the_home_directory_and_that_the_pod() {
    let world = World::default()
        .home("/home/me")
        .file("/home/me/.kube/config", &kubeconfig("home"))
        .file("/a", &kubeconfig("a"))
        .pod();
    assert_eq!(world.config().namespace, "home");
    let world = world.env("KUBECONFIG", "/a");
    let (config, asked) = world.load(Overrides::default());
    assert_eq!(config.unwrap().namespace, "a");
    assert_eq!(asked, [Path::new("/a")]);
    // The variable names no file that exists: the pod, and never the home directory.
    let world = world.env("KUBECONFIG", "/nowhere");
    let (config, asked) = world.load(Overrides::default());
    assert_eq!(config.unwrap().namespace, "team-pod");
    assert_eq!(
        asked,
        [
            PathBuf::from("/nowhere"),
            service_account("ca.crt").into(),
            service_account("namespace").into(),
        ]
    );
}

#[test]
fn missing_files_of_the_variable_are_skipped_and_the_others_merged() {
    let world = World::default()
        .env("KUBECONFIG", &variable(&["/a/k1", "/missing", "/b/k2"]))
        .file(
            "/a/k1",
            "users: [{name: u, user: {client-certificate: pki/c.crt, client-key: pki/c.key}}]",
        )
        .file(
            "/b/k2",
            "users: [{name: u, user: {token: t}}]\n\
             clusters: [{name: c, cluster: {server: 'https://h', certificate-authority: ca.crt}}]\n\
             contexts: [{name: x, context: {cluster: c, user: u}}]\n\
             current-context: x\n",
        );
    let config = world.config();
    assert_eq!(config.auth, Auth::None);
    let client = config.tls.client.unwrap();
    assert_eq!(client.certificate, Material::File("/a/pki/c.crt".into()));
    assert_eq!(client.key, Material::File("/a/pki/c.key".into()));
    assert_eq!(config.tls.ca, Some(Material::File("/b/ca.crt".into())));
}

#[test]
fn a_wrong_file_ends_the_search() {
    let world = World::default()
        .env("KUBECONFIG", &variable(&["/bad", "/good"]))
        .file("/bad", "users: 7")
        .file("/good", &kubeconfig("good"))
        .pod();
    let (config, asked) = world.load(Overrides::default());
    assert_eq!(
        config.unwrap_err().to_string(),
        "/bad:1: users: expected a list, found a plain value"
    );
    assert_eq!(asked, [Path::new("/bad")]);
    let world = World::default().env("KUBECONFIG", "/forbidden").pod();
    let error = world.load(Overrides::default()).0.unwrap_err();
    assert_eq!(error.to_string(), "cannot read /forbidden");
    assert!(std::error::Error::source(&error).is_some());
    // Something is configured, so the pod is no way out.
    let world = World::default()
        .env("KUBECONFIG", "/a")
        .file("/a", "contexts: [{name: x}]")
        .pod();
    assert_eq!(
        world.error(),
        "/a: no context is asked for and current-context is not set; the contexts are: \"x\""
    );
}

#[test]
fn an_error_tells_everything_that_was_tried() {
    let pod = "not in a cluster: KUBERNETES_SERVICE_HOST is not set";
    for (world, message) in [
        (
            World::default(),
            format!(
                "no configuration: KUBECONFIG is not set and there is no home directory; {pod}"
            ),
        ),
        (
            World::default().home("/h"),
            format!("no configuration: /h/.kube/config does not exist; {pod}"),
        ),
        (
            World::default()
                .home("/h")
                .env("KUBECONFIG", &variable(&["/a", "/b"]))
                .file("/b", "# nothing\n"),
            format!("no configuration: /a does not exist; /b is empty; {pod}"),
        ),
        (
            World::default()
                .home("/h")
                .env("KUBECONFIG", &variable(&["", ""])),
            format!("no configuration: KUBECONFIG lists no file; {pod}"),
        ),
    ] {
        assert_eq!(world.error().replace('\\', "/"), message);
    }
}

#[test]
fn names_are_not_looked_up_in_a_pod() {
    let world = World::default().home("/h").pod();
    let (config, asked) = world.load(Overrides::default().context("prod"));
    assert_eq!(
        config.unwrap_err().to_string(),
        "no configuration: /h/.kube/config does not exist"
    );
    assert_eq!(asked.len(), 1);
    let config = world.load(Overrides::default().namespace("mine")).0;
    assert_eq!(config.unwrap().namespace, "mine");
}

#[test]
fn in_a_pod() {
    let world = World::default().pod();
    let config = world.config();
    assert_eq!(config.endpoint.to_string(), "https://10.96.0.1:443");
    assert_eq!(config.namespace, "team-pod");
    assert_eq!(
        config.tls.ca,
        Some(Material::File(service_account("ca.crt").into()))
    );
    assert_eq!(
        config.auth,
        Auth::TokenFile {
            path: service_account("token").into(),
            initial: None
        }
    );
    config.check().unwrap();

    let (config, asked) = World::default()
        .pod()
        .env("POD_NAMESPACE", "mine")
        .load(Overrides::default());
    assert_eq!(config.unwrap().namespace, "mine");
    assert_eq!(asked.last().unwrap(), Path::new(&service_account("ca.crt")));

    let mut bare = World::default().pod();
    bare.files.clear();
    let config = bare.config();
    assert_eq!(config.namespace, "default");
    assert_eq!(config.tls.ca, None);
}

#[test]
fn servers_in_a_pod() {
    let at = |host: &str, port: &str| {
        in_cluster(|name| match name {
            "KUBERNETES_SERVICE_HOST" => Some(host.into()),
            "KUBERNETES_SERVICE_PORT" => Some(port.into()),
            _ => None,
        })
    };
    for (host, port, url) in [
        (
            "kubernetes.default.svc",
            "443",
            "https://kubernetes.default.svc:443",
        ),
        ("10.96.0.1", "6443", "https://10.96.0.1:6443"),
        ("fd00:10:96::1", "443", "https://[fd00:10:96::1]:443"),
        ("[fd00:10:96::1]", "443", "https://[fd00:10:96::1]:443"),
        (" 10.96.0.1\n", "443 ", "https://10.96.0.1:443"),
    ] {
        assert_eq!(at(host, port).unwrap().endpoint.to_string(), url);
    }
    for (host, port, message) in [
        ("", "443", "KUBERNETES_SERVICE_HOST is not set"),
        ("h", "", "KUBERNETES_SERVICE_PORT is not set"),
        ("h", "https", "KUBERNETES_SERVICE_PORT is no port number"),
        ("h", "65536", "KUBERNETES_SERVICE_PORT is no port number"),
        (
            "a b",
            "443",
            "KUBERNETES_SERVICE_HOST is no host name or address",
        ),
        (
            "a/b",
            "443",
            "KUBERNETES_SERVICE_HOST is no host name or address",
        ),
        (
            "me@h",
            "443",
            "KUBERNETES_SERVICE_HOST is no host name or address",
        ),
        (
            "h?x",
            "443",
            "KUBERNETES_SERVICE_HOST is no host name or address",
        ),
        (
            "[::1",
            "443",
            "KUBERNETES_SERVICE_HOST is no host name or address",
        ),
    ] {
        let error = at(host, port).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(error.to_string(), format!("not in a cluster: {message}"));
    }
}

#[test]
fn an_explicit_file_has_to_exist_and_is_alone() {
    let mut loader = Loader::from_file("/a", Overrides::default());
    assert_eq!(loader.next_file(), Some(Path::new("/a")));
    loader.handle_file(Ok(kubeconfig("a").into_bytes()));
    assert_eq!(loader.next_file(), None);
    assert_eq!(loader.finish().unwrap().namespace, "a");

    let mut loader = Loader::from_file("/a", Overrides::default());
    loader.handle_file(Ok(Vec::new()));
    assert_eq!(
        loader.finish().unwrap_err().to_string(),
        "no configuration: /a is empty"
    );
    // Not read at all is as good as missing.
    let loader = Loader::from_file("/a", Overrides::default());
    assert_eq!(loader.finish().unwrap_err().to_string(), "cannot read /a");
}
