//! From YAML to [`Kubeconfig`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::kubeconfig::{
    AuthProvider, Cluster, Context, Exec, ExecEnv, Kubeconfig, Named, Opaque, Origin, User,
};
use super::secret::Secret;
use super::yaml::{self, Fault, Kind, Node};
use crate::{Error, ErrorKind};

impl Kubeconfig {
    /// Reads a file's content: YAML or JSON, in UTF-8 or in UTF-16 with a byte order mark.
    ///
    /// `file` is where it came from: errors name it, and relative paths are relative to its
    /// directory. An empty file is an empty configuration. Several documents in one file are
    /// [merged](Self::merge) in their order.
    ///
    /// ```
    /// # use kubewire::config::Kubeconfig;
    /// let text = b"current-context: dev\nusers: [{name: me, user: {tokenFile: t}}]";
    /// let kubeconfig = Kubeconfig::parse(text, "/home/me/.kube/config".as_ref())?;
    /// assert_eq!(kubeconfig.users[0].name, "me");
    ///
    /// let error = Kubeconfig::parse(b"\nusers: 7", "/a/b".as_ref()).unwrap_err();
    /// assert_eq!(error.to_string(), "/a/b:2: users: expected a list, found a plain value");
    /// # Ok::<(), kubewire::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] with file, line and field, and never a value, if it is no YAML, too
    /// large, no kubeconfig, or if a name is there twice in one list.
    pub fn parse(bytes: &[u8], file: &Path) -> Result<Self, Error> {
        let file: Arc<Path> = Arc::from(file);
        let wrong = |fault: Fault| {
            let Fault { line, what } = fault;
            let origin = Origin {
                file: Arc::clone(&file),
                line,
            };
            Error::new(ErrorKind::Config, format!("{origin}: {what}"))
        };
        let text = yaml::decode(bytes).map_err(wrong)?;
        let documents = yaml::parse(&text).map_err(wrong)?;
        let documents: Vec<_> = documents
            .into_iter()
            .map(|document| kubeconfig(document, &file))
            .collect::<Result<_, _>>()
            .map_err(wrong)?;
        let mut merged = Self::merge(documents);
        merged.files = vec![file.to_path_buf()];
        Ok(merged)
    }
}

type Read<T> = Result<T, Fault>;

fn fault(line: usize, at: &str, what: &str) -> Fault {
    let what = if at.is_empty() {
        what.to_owned()
    } else {
        format!("{at}: {what}")
    };
    Fault { line, what }
}

fn expected(at: &str, what: &str, node: &Node) -> Fault {
    fault(
        node.line,
        at,
        &format!("expected {what}, found {}", node.what()),
    )
}

/// The fields of a mapping, taken one by one; what is left is unknown.
struct Fields {
    at: String,
    fields: BTreeMap<String, Node>,
}

impl Fields {
    /// Null counts as a mapping without fields.
    fn new(node: Node, at: String) -> Read<Self> {
        let fields = match node.kind {
            Kind::Map(entries) => entries.into_iter().collect(),
            Kind::Scalar { .. } if node.is_null() => BTreeMap::new(),
            Kind::Scalar { .. } | Kind::List(_) => {
                return Err(expected(&at, "a mapping", &node));
            }
        };
        Ok(Self { at, fields })
    }

    fn path(&self, name: &str) -> String {
        if self.at.is_empty() {
            name.to_owned()
        } else {
            format!("{}: {name}", self.at)
        }
    }

    /// A field that is there and not null, with its path.
    fn take(&mut self, name: &str) -> Option<(String, Node)> {
        let node = self.fields.remove(name).filter(|node| !node.is_null())?;
        Some((self.path(name), node))
    }

    fn text(&mut self, name: &str) -> Read<Option<String>> {
        self.take(name)
            .map(|(at, node)| text(node, &at))
            .transpose()
    }

    fn secret(&mut self, name: &str) -> Read<Option<Secret>> {
        Ok(self.text(name)?.map(Secret::new))
    }

    fn boolean(&mut self, name: &str) -> Read<Option<bool>> {
        self.take(name)
            .map(|(at, node)| {
                node.boolean()
                    .ok_or_else(|| fault(node.line, &at, "expected true or false"))
            })
            .transpose()
    }

    fn list<T>(
        &mut self,
        name: &str,
        mut item: impl FnMut(Node, String) -> Read<T>,
    ) -> Read<Vec<T>> {
        let Some((at, node)) = self.take(name) else {
            return Ok(Vec::new());
        };
        let Kind::List(items) = node.kind else {
            return Err(expected(&at, "a list", &node));
        };
        items
            .into_iter()
            .enumerate()
            .filter(|(_, node)| !node.is_null())
            .map(|(index, node)| item(node, format!("{at}[{index}]")))
            .collect()
    }

    fn texts(&mut self, name: &str) -> Read<Vec<String>> {
        self.list(name, |node, at| text(node, &at))
    }

    fn opaque(&mut self, name: &str) -> Option<Opaque> {
        let (_, node) = self.take(name)?;
        Some(Opaque(node.into_value()))
    }

    /// A list of `{name, KEY: value}`.
    fn named<T>(
        &mut self,
        list: &str,
        key: &str,
        file: &Arc<Path>,
        mut value: impl FnMut(Node, String) -> Read<T>,
    ) -> Read<Vec<Named<T>>> {
        let outer = self.at.clone();
        let mut seen = BTreeSet::new();
        self.list(list, |node, at| {
            let line = node.line;
            let mut fields = Self::new(node, at.clone())?;
            let name = fields.text("name")?.unwrap_or_default();
            let at = if outer.is_empty() {
                format!("{key} {name:?}")
            } else {
                format!("{outer}: {key} {name:?}")
            };
            if !seen.insert(name.clone()) {
                return Err(fault(
                    line,
                    "",
                    &format!("{at} is there twice: a name has to be unique in {list}"),
                ));
            }
            let content = fields.fields.remove(key).unwrap_or(Node {
                line,
                kind: Kind::Map(Vec::new()),
            });
            Ok(Named {
                name,
                value: value(content, at)?,
                origin: Some(Origin {
                    file: Arc::clone(file),
                    line,
                }),
                other: fields.other(),
            })
        })
    }

    fn extensions(&mut self, file: &Arc<Path>) -> Read<Vec<Named<Opaque>>> {
        self.named("extensions", "extension", file, |node, _| {
            Ok(Opaque(node.into_value()))
        })
    }

    fn other(self) -> BTreeMap<String, Opaque> {
        self.fields
            .into_iter()
            .map(|(name, node)| (name, Opaque(node.into_value())))
            .collect()
    }
}

/// Numbers and booleans are text as they are spelled, as far as kubectl would take them for it.
fn text(node: Node, at: &str) -> Read<String> {
    match node.kind {
        Kind::Scalar { text, .. } => Ok(text),
        Kind::List(_) | Kind::Map(_) => Err(expected(at, "text", &node)),
    }
}

fn kubeconfig(node: Node, file: &Arc<Path>) -> Read<Kubeconfig> {
    let line = node.line;
    let mut fields = Fields::new(node, String::new())?;
    for (name, only) in [("kind", "Config"), ("apiVersion", "v1")] {
        if let Some(text) = fields.text(name)?
            && !text.is_empty()
            && text != only
        {
            return Err(fault(
                line,
                "",
                &format!("this is no kubeconfig: {name} is not {only}"),
            ));
        }
    }
    Ok(Kubeconfig {
        clusters: fields.named("clusters", "cluster", file, |node, at| {
            cluster(node, at, file)
        })?,
        users: fields.named("users", "user", file, |node, at| user(node, at, file))?,
        contexts: fields.named("contexts", "context", file, |node, at| {
            context(node, at, file)
        })?,
        current_context: fields.text("current-context")?,
        preferences: fields.opaque("preferences"),
        extensions: fields.extensions(file)?,
        other: fields.other(),
        files: Vec::new(),
    })
}

fn cluster(node: Node, at: String, file: &Arc<Path>) -> Read<Cluster> {
    let mut fields = Fields::new(node, at)?;
    Ok(Cluster {
        server: fields.text("server")?,
        tls_server_name: fields.text("tls-server-name")?,
        insecure_skip_tls_verify: fields.boolean("insecure-skip-tls-verify")?,
        certificate_authority: fields.text("certificate-authority")?,
        certificate_authority_data: fields.text("certificate-authority-data")?,
        proxy_url: fields.text("proxy-url")?,
        disable_compression: fields.boolean("disable-compression")?,
        extensions: fields.extensions(file)?,
        other: fields.other(),
    })
}

fn user(node: Node, at: String, file: &Arc<Path>) -> Read<User> {
    let mut fields = Fields::new(node, at)?;
    let mut act_as_user_extra = BTreeMap::new();
    if let Some((at, node)) = fields.take("as-user-extra") {
        let mut extra = Fields::new(node, at)?;
        let keys: Vec<_> = extra.fields.keys().cloned().collect();
        for key in keys {
            let values = extra.texts(&key)?;
            act_as_user_extra.insert(key, values);
        }
    }
    Ok(User {
        client_certificate: fields.text("client-certificate")?,
        client_certificate_data: fields.secret("client-certificate-data")?,
        client_key: fields.text("client-key")?,
        client_key_data: fields.secret("client-key-data")?,
        token: fields.secret("token")?,
        token_file: fields.text("tokenFile")?,
        act_as: fields.text("as")?,
        act_as_uid: fields.text("as-uid")?,
        act_as_groups: fields.texts("as-groups")?,
        act_as_user_extra,
        username: fields.text("username")?,
        password: fields.secret("password")?,
        auth_provider: fields
            .take("auth-provider")
            .map(|(at, node)| auth_provider(node, at))
            .transpose()?,
        exec: fields
            .take("exec")
            .map(|(at, node)| exec(node, at))
            .transpose()?,
        extensions: fields.extensions(file)?,
        other: fields.other(),
    })
}

fn auth_provider(node: Node, at: String) -> Read<AuthProvider> {
    let mut fields = Fields::new(node, at)?;
    let mut config = BTreeMap::new();
    if let Some((at, node)) = fields.take("config") {
        let mut entries = Fields::new(node, at)?;
        let keys: Vec<_> = entries.fields.keys().cloned().collect();
        for key in keys {
            let secret = entries.secret(&key)?.unwrap_or_else(|| Secret::new(""));
            config.insert(key, secret);
        }
    }
    Ok(AuthProvider {
        name: fields.text("name")?.unwrap_or_default(),
        config,
        other: fields.other(),
    })
}

fn exec(node: Node, at: String) -> Read<Exec> {
    let mut fields = Fields::new(node, at)?;
    Ok(Exec {
        command: fields.text("command")?,
        args: fields.texts("args")?,
        env: fields.list("env", |node, at| {
            let mut fields = Fields::new(node, at)?;
            Ok(ExecEnv {
                name: fields.text("name")?.unwrap_or_default(),
                value: fields.secret("value")?,
                other: fields.other(),
            })
        })?,
        api_version: fields.text("apiVersion")?,
        install_hint: fields.text("installHint")?,
        provide_cluster_info: fields.boolean("provideClusterInfo")?,
        interactive_mode: fields.text("interactiveMode")?,
        other: fields.other(),
    })
}

fn context(node: Node, at: String, file: &Arc<Path>) -> Read<Context> {
    let mut fields = Fields::new(node, at)?;
    Ok(Context {
        cluster: fields.text("cluster")?,
        user: fields.text("user")?,
        namespace: fields.text("namespace")?,
        extensions: fields.extensions(file)?,
        other: fields.other(),
    })
}
