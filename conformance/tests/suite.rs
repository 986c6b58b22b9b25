//! The suite's scenarios on every executor, against an embedded server. Half of them with TLS, and so over
//! HTTP/2.

use kubewire_conformance::scenario::Group;

macro_rules! groups {
    ($($test:ident: $group:ident),* $(,)?) => {
        groups! { @on tokio_multi, TokioMulti, true; $($test: $group)* }
        groups! { @on tokio_current, TokioCurrent, false; $($test: $group)* }
        groups! { @on smol, Smol, true; $($test: $group)* }
        groups! { @on local, Local, false; $($test: $group)* }

        #[test]
        fn every_group_is_tested() {
            assert_eq!([$(Group::$group),*], Group::ALL[..1]);
        }
    };
    (@on $module:ident, $harness:ident, $tls:literal; $($test:ident: $group:ident)*) => {
        mod $module {
            use kubewire_conformance::harness::$harness;
            use kubewire_conformance::suite::check;

            use super::Group;

            $(
                #[test]
                fn $test() {
                    check::<$harness>(Group::$group, $tls);
                }
            )*
        }
    };
}

groups! {
    rest: Rest,
}
