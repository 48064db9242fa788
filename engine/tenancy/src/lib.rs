//! Every rule about limits, quotas, rates, prices and the ledger; pure.
