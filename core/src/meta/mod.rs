//! The few meta types that every kind shares, and nothing of any kind.

mod object;
mod status;
mod table;
mod view;

pub(crate) use object::{Key, null_default};
pub use object::{
    ListMeta, ObjectMeta, OwnerReference, PartialObjectMetadata, ShardInfo, TypeMeta,
};
pub use status::{Status, StatusCause, StatusDetails};
pub use table::{Table, TableColumn, TableRow, TableRowCondition};
pub use view::MetaView;
