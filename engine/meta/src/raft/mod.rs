//! openraft, taught our words: entries are opaque bytes with the leader's stamp, voters are
//! replicas on drives, and voters of one node talk by direct calls.

pub mod codec;
pub mod machine;
pub mod network;
pub mod stamp;
pub mod types;
