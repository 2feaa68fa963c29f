//! Storage pools, volumes and images on disk; drivers.
