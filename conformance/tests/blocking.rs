//! The core alone, over `std::net`: the example of the core against the embedded server.

use kubewire::Endpoint;
use kubewire::config::Config;
use kubewire_conformance::server::Server;

#[path = "../../core/examples/blocking.rs"]
mod blocking;

#[test]
fn the_blocking_example_gets_lists_and_watches() {
    for tls in [false, true] {
        let server = Server::builder().tls(tls).start().expect("a server");
        let endpoint = Endpoint::parse(&server.url()).expect("a URL");
        let mut config = Config::new(endpoint);
        if let Some(ca) = server.ca_pem() {
            config = config.ca_pem(ca);
        }
        blocking::demo(&config.clone().token(server.token())).expect("the example works");
        assert_eq!(server.stats().http2_requests, 0);
        let error = blocking::demo(&config.token("wrong")).expect_err("the token is wrong");
        assert!(error.is_unauthorized(), "{error}");
    }
}
