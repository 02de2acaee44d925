//! The operators against plain cases and an oracle.
