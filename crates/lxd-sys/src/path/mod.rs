//! Directories as roots that no path leads out of; recursive copy, removal and size of trees.
