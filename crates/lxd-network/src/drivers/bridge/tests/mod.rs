//! Bridges: texts by data, and real ones in a network namespace of their own.

mod golden;
mod real;
