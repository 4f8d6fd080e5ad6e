//! How many records a request may have now. Pure.
//!
//! Starts at what the config allows. Where only smaller requests get through (a thin link, a service with a limit of
//! its own), it goes down to what did, and doubles again with every full request that is delivered: at once while it
//! is far below what failed, and beyond that after a number of successes that doubles with each disappointment.

use super::lot::Sizes;

/// Full requests delivered before a size that failed once is tried again.
const PATIENCE_MIN: u32 = 16;
const PATIENCE_MAX: u32 = 4096;

/// The limit of one sink.
#[derive(Debug)]
pub(super) struct BatchSize {
    configured: usize,
    limit: usize,
    /// The smallest size that failed and was not tried again since.
    failed: Option<usize>,
    /// The limit before it grew to a size that nothing was delivered of yet.
    before: Option<usize>,
    patience: u32,
    /// Full requests delivered in a row.
    delivered: u32,
}

impl BatchSize {
    pub(super) const fn new(configured: usize) -> Self {
        Self {
            configured,
            limit: configured,
            failed: None,
            before: None,
            patience: PATIENCE_MIN,
            delivered: 0,
        }
    }

    /// Records of the next request.
    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    /// A request of `count` records was delivered.
    pub(super) fn delivered(&mut self, count: usize) {
        if count < self.limit {
            return;
        }
        if self.before.take().is_some() {
            self.patience = PATIENCE_MIN;
        }
        if self.limit == self.configured {
            return;
        }
        self.delivered += 1;
        let grown = self.limit.saturating_mul(2).min(self.configured);
        if self.failed.is_some_and(|failed| grown >= failed) {
            if self.delivered < self.patience {
                return;
            }
            self.failed = None;
        }
        self.before = Some(self.limit);
        self.limit = grown;
        self.delivered = 0;
    }

    /// A request of `count` records failed, and it may be the size. Whether that is known, so that no record needs to
    /// be suspected: it goes again in smaller parts.
    pub(super) fn is_too_large(&mut self, count: usize) -> bool {
        if let Some(before) = self.before.take_if(|before| count > *before) {
            self.patience = self.patience.saturating_mul(2).min(PATIENCE_MAX);
            self.limit = before;
            self.failed = Some(count);
            self.delivered = 0;
        }
        count > self.limit
    }

    /// It was the size: no record of a request was guilty.
    pub(super) fn learn(&mut self, sizes: Sizes) {
        if self.limit >= sizes.failed_min {
            self.limit = sizes.delivered_max.clamp(1, self.configured);
            self.failed = (!sizes.is_blind).then_some(sizes.failed_min);
            self.delivered = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size that went through and the one that did not, as narrowing finds them.
    fn narrowed(from: usize, fits: usize) -> Sizes {
        let mut failed_min = from;
        while failed_min / 2 > fits {
            failed_min /= 2;
        }
        Sizes { delivered_max: failed_min / 2, failed_min, is_blind: false }
    }

    #[test]
    fn a_limit_of_the_other_side_is_found_and_hardly_ever_run_into_again() {
        for fits in [1, 2, 60, 250, 999] {
            let mut size = BatchSize::new(1000);
            let mut failed = 0;
            for _ in 0..10_000 {
                if size.limit() <= fits {
                    size.delivered(size.limit());
                } else {
                    failed += 1;
                    let count = size.limit();
                    if !size.is_too_large(count) {
                        size.learn(narrowed(count, fits));
                    }
                }
            }
            assert!(size.limit() * 4 > fits, "{} of {fits}", size.limit());
            assert!(failed <= 12, "{failed} requests too large for {fits}");
        }
    }

    #[test]
    fn it_is_back_at_what_is_configured_soon_after_the_link_is_well_again() {
        let mut size = BatchSize::new(1000);
        size.learn(narrowed(1000, 1));
        assert_eq!(size.limit(), 1);
        let mut requests = 0;
        while size.limit() < 1000 {
            size.delivered(size.limit());
            requests += 1;
        }
        assert!(requests <= 40, "{requests} requests");
    }

    #[test]
    fn requests_that_were_not_full_say_nothing() {
        let mut size = BatchSize::new(100);
        size.learn(narrowed(100, 30));
        for _ in 0..100 {
            size.delivered(3);
        }
        assert_eq!(size.limit(), 25);
        assert!(size.is_too_large(100));
        size.learn(Sizes { delivered_max: 50, failed_min: 100, is_blind: false });
        assert_eq!(size.limit(), 25, "what was on its way before the limit went down is no news");
    }
}
