//! The core alone, over `std::net`: the example of the core against the embedded server.

#[path = "../../core/examples/blocking.rs"]
mod blocking;

#[test]
fn the_blocking_example_gets_lists_and_watches() {
    let server = kubewire_conformance::server::Server::start().expect("the server starts");
    blocking::demo(&server.url(), server.token()).expect("the example works");
    assert_eq!(server.stats().http2_requests, 0);
    let error = blocking::demo(&server.url(), "wrong").expect_err("the token is wrong");
    assert!(error.is_unauthorized(), "{error}");
}
