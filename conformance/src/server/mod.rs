//! An API server in this process.
//!
//! [`Server`] listens on a loopback port and speaks the Kubernetes protocol to whoever holds its token: objects with
//! history and watches, server-side apply, logs, exec, attach and port-forward. Behind it stands a simulated node
//! whose containers run small built-in programs. It is an independent implementation of the protocol: it shares no
//! code with the client that is tested against it.
//!
//! # Containers
//!
//! A container runs `command` and `args`; without them an image named `busybox` runs `sh`, and every other image
//! sleeps. An image whose name begins with `missing`, `no-such` or `does-not-exist` cannot be pulled. There is a small
//! POSIX shell, and `basename`, `cat`, `chmod`, `cp`, `cut`, `date`, `dirname`, `echo`, `env`, `expr`, `false`, `grep`,
//! `head`, `hostname`, `httpd`, `id`, `kill`, `ls`, `mkdir`, `mv`, `nc`, `printenv`, `printf`, `ps`, `pwd`, `rev`, `rm`,
//! `rmdir`, `seq`, `sleep`, `sort`, `stat`, `stty`, `tail`, `tar`, `tee`, `test`, `touch`, `tr`, `true`, `tty`, `uname`,
//! `uniq`, `wc`, `which`, `whoami` and `yes`. Files are in memory; `nc -lk -p PORT -e PROG` and `httpd -f -p PORT -h DIR`
//! listen on ports that only port-forward and `nc` in the same pod can reach.
//!
//! # Threads
//!
//! It runs on threads of its own, so that it serves callers under any runtime, or none:
//!
//! ```
//! use std::io::{Read as _, Write as _};
//!
//! # fn main() -> std::io::Result<()> {
//! let server = kubewire_conformance::server::Server::start()?;
//! let mut stream = std::net::TcpStream::connect(server.addr())?;
//! write!(stream, "GET /version HTTP/1.0\r\nAuthorization: Bearer {}\r\n\r\n", server.token())?;
//! let mut answer = String::new();
//! stream.read_to_string(&mut answer)?;
//! assert!(answer.contains("v1.36.2"));
//! # Ok(())
//! # }
//! ```

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "JSON values, tokens and the like are the few that a place is about, or any other"
)]

mod apply;
mod auth;
mod body;
mod call;
mod channels;
mod controllers;
mod decode;
mod defaults;
mod delete;
mod discovery;
mod encode;
mod faults;
mod fields;
mod kinds;
mod list;
mod listen;
mod logs;
mod negotiate;
mod node;
mod patch;
mod query;
mod random;
mod rbac;
mod reply;
mod reviews;
mod route;
mod schema;
mod selector;
mod status;
mod store;
mod subresource;
mod table;
mod time;
mod tls;
mod update;
mod validate;
mod watch;
mod write;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::oneshot;

use auth::Auth;
pub use faults::Faults;
use kinds::Kinds;
use listen::{Connections, Counters};
use node::Node;
use rbac::Grants;
use store::Store;
pub(crate) use time::parse_go_duration;
pub use tls::Certificate;
use tls::Tls;

/// How long a dropped server may take to end its tasks.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(2);

/// Everything that requests share.
#[derive(Debug)]
pub(crate) struct App {
    address: SocketAddr,
    auth: Auth,
    config: Config,
    connections: Connections,
    down: AtomicBool,
    faults: faults::Plan,
    grants: Grants,
    kinds: Kinds,
    node: Node,
    stats: Counters,
    store: Store,
    tls: Option<Tls>,
}

impl App {
    fn issuer(&self) -> String {
        format!("https://{}", self.address)
    }
}

#[derive(Clone, Debug)]
struct Config {
    tls: bool,
    http2: bool,
    certificate: Certificate,
    require_client_certificate: bool,
    bookmark_interval: Duration,
}

/// How a [`Server`] is to be.
#[derive(Clone, Debug)]
pub struct Builder {
    config: Config,
}

impl Builder {
    /// Whether to serve HTTPS. Off unless asked for.
    #[must_use]
    pub fn tls(mut self, on: bool) -> Self {
        self.config.tls = on;
        self
    }

    /// Whether to serve HTTP/2 beside HTTP/1.1. On unless told otherwise.
    #[must_use]
    pub fn http2(mut self, on: bool) -> Self {
        self.config.http2 = on;
        self
    }

    /// What to show to clients. Means HTTPS.
    #[must_use]
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.config.tls = true;
        self.config.certificate = certificate;
        self
    }

    /// Whether clients must show a certificate. Means HTTPS. They may unless told otherwise.
    #[must_use]
    pub fn require_client_certificate(mut self, on: bool) -> Self {
        self.config.tls = true;
        self.config.require_client_certificate = on;
        self
    }

    /// How often a watch that allows bookmarks gets one; a minute unless told otherwise.
    #[must_use]
    pub fn bookmark_interval(mut self, interval: Duration) -> Self {
        self.config.bookmark_interval = interval;
        self
    }

    /// Starts the server on a free port of 127.0.0.1.
    pub fn start(self) -> io::Result<Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let tls = if self.config.tls {
            Some(Tls::generate(tls::Options {
                http2: self.config.http2,
                certificate: self.config.certificate,
                require_client_certificate: self.config.require_client_certificate,
            })?)
        } else {
            None
        };
        let app = Arc::new(App {
            address,
            auth: Auth::new(),
            config: self.config,
            connections: Connections::default(),
            down: AtomicBool::new(false),
            faults: faults::Plan::default(),
            grants: Grants::default(),
            kinds: Kinds::new(),
            node: Node::new(),
            stats: Counters::default(),
            store: Store::new(),
            tls,
        });
        controllers::bootstrap(&app);
        let begun = app.store.revision();
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&app);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("kubewire-apiserver")
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new()
            .name("kubewire-apiserver".into())
            .spawn(move || {
                runtime.block_on(async {
                    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
                        return;
                    };
                    tokio::spawn(controllers::run(Arc::clone(&serving), begun));
                    tokio::spawn(node::run(Arc::clone(&serving)));
                    tokio::select! {
                        () = listen::serve(serving, listener) => {}
                        _ = stopped => {}
                    }
                });
                runtime.shutdown_timeout(SHUTDOWN_LIMIT);
            })?;
        Ok(Server {
            app,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

/// A running API server. Dropping it closes its listener and connections and ends its threads.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a server has done and has open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// TCP connections accepted so far.
    pub connections_opened: u64,
    /// TCP connections open now.
    pub connections_open: u64,
    /// Requests that came over HTTP/1.1.
    pub http1_requests: u64,
    /// Requests that came over HTTP/2.
    pub http2_requests: u64,
    /// `WebSockets` accepted so far.
    pub websockets_opened: u64,
    /// `WebSockets` open now.
    pub websockets_open: u64,
    /// Watches open now.
    pub watches_open: u64,
}

impl Server {
    /// Starts a server for plain HTTP.
    pub fn start() -> io::Result<Self> {
        Self::builder().start()
    }

    /// A server that is still to be configured.
    #[must_use]
    pub fn builder() -> Builder {
        let bookmark_interval = Duration::from_mins(1);
        Builder {
            config: Config {
                tls: false,
                http2: true,
                certificate: Certificate::Good,
                require_client_certificate: false,
                bookmark_interval,
            },
        }
    }

    /// The base URL, such as `http://127.0.0.1:40123`.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.app.tls.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.app.address)
    }

    /// The address that it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.app.address
    }

    /// The bearer token of user `admin` in group `system:masters`.
    #[must_use]
    pub fn token(&self) -> &str {
        self.app.auth.admin_token()
    }

    /// The bearer token of user `viewer`, who may read most objects and change none.
    #[must_use]
    pub fn viewer_token(&self) -> &str {
        self.app.auth.viewer_token()
    }

    /// Lets a user (impersonated, for instance) do this with a resource such as `pods` or `pods/exec`.
    pub fn grant(&self, user: &str, verbs: &[&str], resource: &str) {
        self.app.grants.add(user, verbs, resource);
    }

    /// The authority that signed the server's certificate, with TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.app.tls.as_ref().map(|tls| tls.ca_pem.as_str())
    }

    /// The server's own certificate, with TLS.
    #[must_use]
    pub fn certificate_pem(&self) -> Option<&str> {
        let tls = self.app.tls.as_ref();
        tls.map(|tls| tls.certificate_pem.as_str())
    }

    /// How it serves TLS, for something that is to look like it, such as a proxy.
    #[must_use]
    pub fn tls_config(&self) -> Option<Arc<rustls::ServerConfig>> {
        let tls = self.app.tls.as_ref();
        tls.map(|tls| Arc::clone(&tls.config))
    }

    /// Makes another token of user `admin`, good until it is revoked.
    #[must_use]
    pub fn issue_token(&self) -> String {
        self.app.auth.issue_admin()
    }

    /// From now on the token is refused.
    pub fn revoke_token(&self, token: &str) {
        self.app.auth.revoke(token);
    }

    /// A client certificate of user `admin` and its key, with TLS.
    #[must_use]
    pub fn client_certificate(&self) -> Option<(&str, &str)> {
        self.app.tls.as_ref().map(|tls| {
            (
                tls.client_certificate_pem.as_str(),
                tls.client_key_pem.as_str(),
            )
        })
    }

    /// Makes another client certificate of user `admin` and its key, with TLS.
    #[must_use]
    pub fn issue_certificate(&self) -> Option<(String, String)> {
        self.app.tls.as_ref()?.issue()
    }

    /// How many different client certificates have been shown.
    #[must_use]
    pub fn certificates_seen(&self) -> usize {
        self.app.connections.certificates_seen()
    }

    /// A kubeconfig with the token.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        self.config_with(&format!("    token: {}\n", self.token()))
    }

    /// A kubeconfig with the client certificate, with TLS.
    #[must_use]
    pub fn kubeconfig_with_client_certificate(&self) -> Option<String> {
        let (certificate, key) = self.client_certificate()?;
        let (certificate, key) = (STANDARD.encode(certificate), STANDARD.encode(key));
        Some(self.config_with(&format!(
            "    client-certificate-data: {certificate}\n    client-key-data: {key}\n"
        )))
    }

    fn config_with(&self, user: &str) -> String {
        let url = self.url();
        let authority = self
            .ca_pem()
            .map(|pem| format!("    certificate-authority-data: {}\n", STANDARD.encode(pem)));
        let authority = authority.unwrap_or_default();
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: embedded\n  cluster:\n    server: {url}\n{authority}\
             users:\n- name: admin\n  user:\n{user}contexts:\n- name: embedded\n  context:\n    cluster: embedded\n    \
             user: admin\ncurrent-context: embedded\n"
        )
    }

    /// Counts of connections, requests, `WebSockets` and watches.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let stats = &self.app.stats;
        Stats {
            connections_opened: stats.connections_opened.load(Ordering::SeqCst),
            connections_open: stats.connections_open.get(),
            http1_requests: stats.http1_requests.load(Ordering::SeqCst),
            http2_requests: stats.http2_requests.load(Ordering::SeqCst),
            websockets_opened: stats.websockets_opened.load(Ordering::SeqCst),
            websockets_open: stats.websockets_open.get(),
            watches_open: stats.watches_open.get(),
        }
    }

    /// Cuts every open connection without a word.
    pub fn close_connections(&self) {
        self.app.connections.cut();
    }

    /// Ends every open connection with a TCP reset. Upgraded ones stay.
    pub fn reset_connections(&self) {
        self.app.connections.reset();
    }

    /// Asks every open connection to end when its requests are answered: by GOAWAY over HTTP/2. Upgraded ones stay.
    pub fn go_away(&self) {
        self.app.connections.go_away();
    }

    /// Goes down, or comes back: as a restart looks from outside. While it is down every connection is cut at once;
    /// what is stored stays, the history of watches does not.
    pub fn set_down(&self, down: bool) {
        self.app.down.store(down, Ordering::Relaxed);
        if down {
            self.app.store.compact();
            self.app.connections.cut();
        }
    }

    /// Forgets the history of watches: every older resourceVersion is expired.
    pub fn compact(&self) {
        self.app.store.compact();
    }

    /// Makes the next requests fail.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults(Arc::clone(&self.app))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // Its panic, if any, was reported where it happened.
            let _ = thread.join();
        }
        self.app.connections.cut();
    }
}
