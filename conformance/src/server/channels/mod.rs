//! Exec, attach and port-forward.
use super::call::{Call, Target};
use super::reply::Reply;
use super::status::{Failure, Result};
pub(crate) fn serve(
    _call: &Call,
    _target: &Target,
    _upgrading: Option<hyper::upgrade::OnUpgrade>,
) -> Result<Reply> {
    Err(Failure::unknown_resource())
}
