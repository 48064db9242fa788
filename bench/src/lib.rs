//! Load generator, machine roofline, comparisons beside peers.
