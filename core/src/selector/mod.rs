//! Label and field selectors.

mod fields;
mod labels;
mod parse;

use std::borrow::Cow;

pub use fields::FieldSelector;
pub use labels::LabelSelector;

use crate::Error;

/// What a label selector can be given as: text, which only the server checks, or a [`LabelSelector`].
pub trait IntoLabelSelector {
    /// The selector as text.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if it was built of something that no label can be.
    fn into_label_selector(self) -> Result<String, Error>;
}

/// What a field selector can be given as: text, which only the server checks, or a [`FieldSelector`].
pub trait IntoFieldSelector {
    /// The selector as text.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if it was built of something that is no field.
    fn into_field_selector(self) -> Result<String, Error>;
}

macro_rules! text {
    ($($type:ty),*) => {$(
        impl IntoLabelSelector for $type {
            fn into_label_selector(self) -> Result<String, Error> {
                Ok(self.into())
            }
        }

        impl IntoFieldSelector for $type {
            fn into_field_selector(self) -> Result<String, Error> {
                Ok(self.into())
            }
        }
    )*};
}

text!(&str, String, &String, Cow<'_, str>);
