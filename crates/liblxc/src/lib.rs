//! A safe wrapper of the C library liblxc, and the helper binary that does all that forks.
