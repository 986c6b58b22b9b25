//! kubewire.
