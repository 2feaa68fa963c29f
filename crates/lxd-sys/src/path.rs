//! Paths opened beneath a root that they can't leave.
