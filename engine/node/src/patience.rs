//! How long one operation waits for a drive that does not answer it. Pure.

/// One operation that takes so many silences on a drive that answers others has failed.
const OPERATION_SILENCES_MAX: u32 = 12;
/// … and so many on a drive that is not taken out, because too many are silent.
const SPARED_SILENCES_MAX: u32 = 3;

/// The silences one operation has sat through.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    waited: u32,
    spared: u32,
}

impl Patience {
    /// The drive answered others meanwhile. True: wait on.
    pub(crate) fn busy(&mut self) -> bool {
        self.waited += 1;
        self.waited < OPERATION_SILENCES_MAX
    }

    /// It answered nobody, and stays in service all the same. True: wait on.
    pub(crate) fn spared(&mut self) -> bool {
        self.spared += 1;
        self.spared < SPARED_SILENCES_MAX && self.waited < OPERATION_SILENCES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_drive_is_given_twelve_silences() {
        let mut patience = Patience::default();
        for _ in 1..OPERATION_SILENCES_MAX {
            assert!(patience.busy());
        }
        assert!(!patience.busy());
        assert!(!patience.spared(), "nor is it spared behind that");
    }

    #[test]
    fn a_spared_drive_is_given_three() {
        let mut patience = Patience::default();
        for _ in 1..SPARED_SILENCES_MAX {
            assert!(patience.spared());
        }
        assert!(!patience.spared());
    }
}
