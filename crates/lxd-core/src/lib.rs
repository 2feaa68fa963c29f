//! The use cases of LXD, one folder per noun; operations and events.
