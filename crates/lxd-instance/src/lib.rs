//! The life of instances: drivers, devices, exec, console, files.
