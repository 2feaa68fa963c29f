//! What this machine is: kernel, memory, processors, features.
