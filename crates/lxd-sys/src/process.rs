//! Processes watched and signalled through pidfds.
