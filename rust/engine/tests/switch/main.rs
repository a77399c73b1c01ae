//! The switch against a plain model, and what only it must do.

mod cases;
mod model;
mod properties;
