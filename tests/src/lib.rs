//! What the end-to-end tests share: a daemon of their own, clients, and the clean-up after both.
