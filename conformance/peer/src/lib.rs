//! The same work by kubewire and by kube-rs, against a server whose own cost does not matter.
//!
//! Every measurement is a process of its own ([`work`]), which tells what it took ([`job::Figures`]); the server is another
//! one, that sends what it has made beforehand ([`server`]).

pub mod job;
pub mod pods;
pub mod rows;
pub mod server;
pub mod work;
