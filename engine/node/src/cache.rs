//! A bounded map of what was looked up, with when.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Most entries of one cache.
pub(crate) const CACHE_ENTRIES_MAX: usize = 10_000;

/// Values with the time they were read at. When full, all but the recently read go: simpler than
/// an order of use, and a look-up is cheap.
#[derive(Debug)]
pub(crate) struct Cache<K, V>(Mutex<HashMap<K, (V, Duration)>>);

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// The value and when it was put.
    pub(crate) fn get<Q>(&self, key: &Q) -> Option<(V, Duration)>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.0.lock().get(key).cloned()
    }
    /// Puts a value read at `now`.
    pub(crate) fn put(&self, key: K, value: V, now: Duration) {
        let mut map = self.0.lock();
        if map.len() >= CACHE_ENTRIES_MAX && !map.contains_key(&key) {
            let mut times: Vec<Duration> = map.values().map(|(_, at)| *at).collect();
            let middle = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(middle);
            let median = *median;
            map.retain(|_, (_, at)| *at > median);
        }
        map.insert(key, (value, now));
    }
    /// Forgets a value.
    pub(crate) fn remove<Q>(&self, key: &Q)
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.0.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_keeps_the_recent() {
        let cache = Cache::default();
        for n in 0..=CACHE_ENTRIES_MAX {
            cache.put(n, n, Duration::from_millis(n as u64));
        }
        assert!(cache.0.lock().len() <= CACHE_ENTRIES_MAX);
        assert_eq!(
            cache.get(&CACHE_ENTRIES_MAX).map(|(n, _)| n),
            Some(CACHE_ENTRIES_MAX)
        );
        assert!(cache.get(&0).is_none());
        cache.remove(&CACHE_ENTRIES_MAX);
        assert!(cache.get(&CACHE_ENTRIES_MAX).is_none());
    }
}
