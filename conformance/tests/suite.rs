//! The suite's scenarios on every executor, against an embedded server. Half of them with TLS, and so over
//! HTTP/2.

use kubewire_conformance::rig::Mischief;
use kubewire_conformance::scenario::Group;

/// As much as HTTP/2 can live with: some scenarios of these groups begin with a large request.
fn over_http2(group: Group) -> Mischief {
    if matches!(group, Group::Rest | Group::Faults) {
        Mischief::OPEN
    } else {
        Mischief::ALL
    }
}

/// Some of these have servers of their own, which speak HTTP/2.
fn over_http1(group: Group) -> Mischief {
    if group == Group::Faults {
        Mischief::OPEN
    } else {
        Mischief::ALL
    }
}

macro_rules! groups {
    ($($test:ident: $group:ident),* $(,)?) => {
        groups! { @on tokio_multi, Tokio, true, |_| Mischief::default(); $($test: $group)* }
        groups! { @on tokio_current, TokioCurrent, false, |_| Mischief::default(); $($test: $group)* }
        groups! { @on smol, Smol, true, |_| Mischief::default(); $($test: $group)* }
        groups! { @on local, Local, false, |_| Mischief::default(); $($test: $group)* }
        groups! { @on hostile_io_on_tokio, Tokio, true, super::over_http2; $($test: $group)* }
        groups! { @on hostile_io_on_local, Local, false, super::over_http1; $($test: $group)* }

        mod dropped {
            use kubewire_conformance::suite::{Runtime, check_dropped};

            use super::Group;

            $(
                #[test]
                fn $test() {
                    check_dropped(Group::$group, Runtime::Local, false);
                }
            )*
        }

        mod blocking {
            use kubewire_conformance::rig::Mischief;
            use kubewire_conformance::suite::{Runtime, check};

            use super::Group;

            #[test]
            fn rest() {
                check(Group::Rest, Runtime::Blocking, true, Mischief::default());
            }

            #[test]
            fn lists() {
                check(Group::Lists, Runtime::Blocking, false, Mischief::default());
            }

            #[test]
            fn watch() {
                check(Group::Watch, Runtime::Blocking, true, Mischief::default());
            }

            #[test]
            fn logs() {
                check(Group::Logs, Runtime::Blocking, false, Mischief::default());
            }
        }

        #[test]
        fn every_group_is_tested() {
            assert_eq!([$(Group::$group),*], Group::ALL);
        }
    };
    (@on $module:ident, $runtime:ident, $tls:literal, $mischief:expr; $($test:ident: $group:ident)*) => {
        mod $module {
            use kubewire_conformance::rig::Mischief;
            use kubewire_conformance::suite::{Runtime, check};

            use super::Group;

            $(
                #[test]
                fn $test() {
                    let mischief: fn(Group) -> Mischief = $mischief;
                    check(Group::$group, Runtime::$runtime, $tls, mischief(Group::$group));
                }
            )*
        }
    };
}

groups! {
    rest: Rest,
    lists: Lists,
    watch: Watch,
    logs: Logs,
    exec: Exec,
    attach: Attach,
    port_forward: PortForward,
    auth: Auth,
    faults: Faults,
    cancellation: Cancellation,
}
