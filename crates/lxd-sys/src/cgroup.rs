//! Control groups v1, v2 and hybrid: limits, accounting and clean-up.
