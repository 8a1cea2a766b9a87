//! Start, wire, drain, stop.
