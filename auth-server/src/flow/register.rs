//! Registration
