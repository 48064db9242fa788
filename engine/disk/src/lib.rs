//! Shards in segments, drive marks and the one file layer.
