//! A runtime around another, that makes life hard for the driver and watches over it.
//!
//! [`Mischief`] says what its connections do. Its [`Meter`] counts how often tasks are polled: tasks that are polled
//! again and again while nothing moves are a busy loop, and tasks that find something to do when they are polled
//! without having been woken have lost a wake-up.

mod io;
mod meter;

use std::future::Future;
use std::io::{ErrorKind, Result};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use hyper::rt::{Executor, Timer};
use kubewire::Error;
use kubewire::auth::{ProcessCommand, ProcessOutput};
use kubewire_driver::{Drive, Host, Listen, Runtime};
use pin_project::pin_project;

pub use io::RigIo;
pub use meter::{Meter, Metered};

use crate::scenario::{Env, Need, Place};
use crate::suite::Backend;

/// What connections do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mischief {
    /// Bytes come and go one at a time in the beginning of a connection, and in odd portions later.
    pub in_bits: bool,
    /// Every other operation is pending for no reason, and wakes at once. A socket that listens fails once.
    pub hesitant: bool,
    /// Nothing is written while there is something to be read: as if the peer took nothing before it has got rid of what
    /// it has to say.
    pub gated: bool,
}

impl Mischief {
    /// Everything there is.
    pub const ALL: Self = Self {
        in_bits: true,
        hesitant: true,
        gated: true,
    };

    /// All that large requests at the beginning of an HTTP/2 connection can live with. The h2 crate reads no further before it
    /// has buffered the acknowledgement of the server's settings (`Settings::poll_send`), and has no room for it while a frame
    /// of a request is stuck. A gate that waits for the reader is closed for ever then. TLS, HTTP/1.1, sessions and
    /// other requests over HTTP/2 can live with a gate.
    pub const OPEN: Self = Self {
        gated: false,
        ..Self::ALL
    };

    fn is_any(self) -> bool {
        self != Self::default()
    }
}

/// A runtime whose connections are up to mischief, and whose tasks are counted.
#[derive(Clone, Debug)]
pub struct Rig<R> {
    inner: R,
    mischief: Mischief,
    meter: Arc<Meter>,
}

impl<R> Rig<R> {
    /// Around a runtime.
    #[must_use]
    pub fn new(inner: R, mischief: Mischief) -> Self {
        Self {
            inner,
            mischief,
            meter: Arc::default(),
        }
    }

    /// Another around the same runtime, with a meter of its own.
    fn again(&self, mischief: Mischief) -> Self
    where
        R: Clone,
    {
        Self::new(self.inner.clone(), mischief)
    }
}

/// A connection attempt.
#[pin_project]
#[derive(Debug)]
pub struct RigDial<D> {
    #[pin]
    inner: D,
    mischief: Mischief,
    meter: Arc<Meter>,
}

impl<I, D: Future<Output = Result<I>>> Future for RigDial<D> {
    type Output = Result<RigIo<I>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (mischief, meter) = (*this.mischief, &*this.meter);
        this.inner.poll(cx).map(|io| {
            meter.progress();
            Ok(RigIo::new(io?, mischief, meter.clone()))
        })
    }
}

/// A sleep, whose end counts as something that happened.
#[pin_project]
#[derive(Debug)]
pub struct RigSleep<S> {
    #[pin]
    inner: S,
    meter: Arc<Meter>,
}

impl<S: Future<Output = ()>> Future for RigSleep<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        this.inner.poll(cx).map(|()| this.meter.progress())
    }
}

impl<R: Runtime> Runtime for Rig<R> {
    type Io = RigIo<R::Io>;
    type Dial = RigDial<R::Dial>;
    type Sleep = RigSleep<R::Sleep>;

    fn dial(&self, host: &str, port: u16) -> Self::Dial {
        RigDial {
            inner: self.inner.dial(host, port),
            mischief: self.mischief,
            meter: self.meter.clone(),
        }
    }

    fn sleep_until(&self, deadline: Instant) -> Self::Sleep {
        RigSleep {
            inner: self.inner.sleep_until(deadline),
            meter: self.meter.clone(),
        }
    }

    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn timer(&self) -> Option<Arc<dyn Timer + Send + Sync>> {
        self.inner.timer()
    }
}

impl<R: Host> Host for Rig<R> {
    fn wall(&self) -> SystemTime {
        self.inner.wall()
    }

    fn read_file(
        &self,
        path: PathBuf,
        max: usize,
    ) -> impl Future<Output = Result<Vec<u8>>> + use<R> {
        self.inner.read_file(path, max)
    }

    fn run(&self, command: ProcessCommand) -> impl Future<Output = Result<ProcessOutput>> + use<R> {
        self.inner.run(command)
    }
}

impl<R: Listen> Listen for Rig<R> {
    type Listener = RigListener<R::Listener>;
    type Bind = Binding<R::Bind>;

    fn bind(&self, address: SocketAddr) -> Self::Bind {
        Binding {
            inner: self.inner.bind(address),
            fails: self.mischief.hesitant,
            meter: self.meter.clone(),
        }
    }

    fn local_addr(listener: &Self::Listener) -> Result<SocketAddr> {
        R::local_addr(&listener.inner)
    }

    fn poll_accept(
        listener: &mut Self::Listener,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Self::Io, SocketAddr)>> {
        if std::mem::take(&mut listener.fails) {
            return Poll::Ready(Err(ErrorKind::OutOfMemory.into()));
        }
        let meter = &listener.meter;
        R::poll_accept(&mut listener.inner, cx).map_ok(|(io, peer)| {
            meter.progress();
            (RigIo::new(io, Mischief::default(), meter.clone()), peer)
        })
    }
}

/// A socket that listens.
#[derive(Debug)]
pub struct RigListener<L> {
    inner: L,
    /// The next connection cannot be taken.
    fails: bool,
    meter: Arc<Meter>,
}

/// A socket that is being bound.
#[pin_project]
#[derive(Debug)]
pub struct Binding<B> {
    #[pin]
    inner: B,
    fails: bool,
    meter: Arc<Meter>,
}

impl<L, B: Future<Output = Result<L>>> Future for Binding<B> {
    type Output = Result<RigListener<L>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (fails, meter) = (*this.fails, &*this.meter);
        this.inner.poll(cx).map_ok(|inner| {
            meter.progress();
            let meter = meter.clone();
            RigListener {
                inner,
                fails,
                meter,
            }
        })
    }
}

impl<R, F> Executor<F> for Rig<R>
where
    F: Future,
    R: Executor<Metered<F>>,
{
    fn execute(&self, task: F) {
        self.inner.execute(Metered::new(task, self.meter.clone()));
    }
}

/// The driver over a rig: each environment has one of its own, so that what is found is found in its scenario.
#[derive(Clone, Debug)]
pub struct Rigged<R>(pub Rig<R>);

impl<R> Backend for Rigged<R>
where
    R: Runtime,
    Rig<R>: Drive,
{
    type Env = Env<Rig<R>>;

    fn env(&self, place: Place) -> std::result::Result<Self::Env, Error> {
        Env::new(self.0.again(self.0.mischief), place)
    }

    fn quiet(&self, place: Place) -> std::result::Result<Self::Env, Error> {
        Env::new(self.0.again(Mischief::default()), place)
    }

    fn guard<T>(
        &self,
        env: &Self::Env,
        body: impl Future<Output = T>,
    ) -> impl Future<Output = std::result::Result<T, String>> {
        watched(env.runtime.clone(), body)
    }

    fn unmet(&self) -> Option<(Need, String)> {
        self.0.mischief.is_any().then(|| {
            let why = "too much for connections that dawdle".to_owned();
            (Need::FastIo, why)
        })
    }
}

/// Awaits a future, and prods all tasks when nothing moves any more.
async fn watched<R: Runtime, T>(
    rig: Rig<R>,
    body: impl Future<Output = T>,
) -> std::result::Result<T, String> {
    let meter = &rig.meter;
    let sleep = |time| rig.inner.sleep_until(rig.inner.now() + time);
    let mut watch = std::pin::pin!(async {
        loop {
            let before = meter.moved();
            sleep(meter::QUIET).await;
            if meter.moved() == before {
                meter.prod();
                // Long enough for the tasks; short, for something may happen at a real server just now.
                sleep(Duration::from_millis(20)).await;
                meter.end_of_prod();
            }
        }
    });
    let mut body = std::pin::pin!(Metered::new(body, meter.clone()));
    let output = std::future::poll_fn(|cx| {
        // First the watch: it polls the body, too, by having its timer on the same task.
        let _: Poll<std::convert::Infallible> = watch.as_mut().poll(cx);
        body.as_mut().poll(cx)
    })
    .await;
    meter.verdict().map_or(Ok(output), Err)
}
