//! Limit and value by turns. Other programs make a machine quicker or slower from one minute to the next; measured one
//! right after the other, limit and value see the same of it, and the ratio of the middle one of some turns tells about the server.

use anyhow::{Result, ensure};

use crate::Bench;
use crate::load::{Load, Outcome};
use crate::table::{Limit, Measure, Target};

impl Bench {
    /// Runs a load after a shorter one that warms up.
    pub(crate) async fn drive(&self, load: &Load<'_>, pid: Option<u32>) -> Result<Outcome> {
        self.warm(load).await?;
        load.run(self.disk.folder(), pid).await
    }

    /// Runs a short load that does not count.
    pub(crate) async fn warm(&self, load: &Load<'_>) -> Result<()> {
        if self.scale.warm > 0 {
            let warm = Load {
                seconds: self.scale.warm,
                bodies: load.bodies,
                headers: load.headers.clone(),
                url: load.url.clone(),
                ..*load
            };
            warm.run(self.disk.folder(), None).await?;
        }
        Ok(())
    }

    /// Runs the load of a limit and that of a value, each on its process, which is warm; at every second turn the other way round,
    /// because a machine that is shared may be quicker after a rest.
    pub(crate) async fn drive_both(
        &self,
        turn: usize,
        (limit, of_limit): (&Load<'_>, u32),
        (value, of_value): (&Load<'_>, u32),
    ) -> Result<(Outcome, Outcome)> {
        let folder = self.disk.folder();
        let (limit, value) = if turn.is_multiple_of(2) {
            let limit = limit.run(folder, Some(of_limit)).await?;
            (limit, value.run(folder, Some(of_value)).await?)
        } else {
            let value = value.run(folder, Some(of_value)).await?;
            (limit.run(folder, Some(of_limit)).await?, value)
        };
        let complaint = limit.complaint();
        ensure!(complaint.is_none(), "the bare server failed: {complaint:?}");
        Ok((limit, value))
    }
}

/// One limit, and right after it one value.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) limit: f64,
    pub(crate) value: f64,
    pub(crate) load: Outcome,
}

impl Turn {
    /// The rate of a load beside the most that the machine can do.
    pub(crate) fn of_rate(limit: f64, load: Outcome) -> Self {
        Self {
            limit,
            value: load.rate,
            load,
        }
    }

    /// The p99 of a load beside that of a quiet one.
    pub(crate) fn of_p99(limit: f64, load: Outcome) -> Self {
        Self {
            limit,
            value: load.p99,
            load,
        }
    }

    fn ratio(&self) -> f64 {
        self.value / self.limit
    }
}

impl Measure {
    /// A measure whose figures are those of the turn with the middle ratio; requests that failed in any turn fail it.
    ///
    /// # Panics
    /// Without a turn.
    pub(crate) fn of_turns(
        name: &'static str,
        unit: &'static str,
        what: &str,
        mut turns: Vec<Turn>,
        target: Target,
    ) -> Self {
        turns.sort_by(|one, other| one.ratio().total_cmp(&other.ratio()));
        let ratios: Vec<String> = turns
            .iter()
            .map(|turn| format!("{:.2}", turn.ratio()))
            .collect();
        let failures: Vec<String> = turns
            .iter()
            .filter_map(|turn| turn.load.complaint())
            .collect();
        // Of an even number the worse of both.
        let middle = match target {
            Target::AtLeast(_) => (turns.len() - 1) / 2,
            Target::Below(_) => turns.len() / 2,
        };
        let middle = turns.swap_remove(middle);
        let limit = Limit::of(what, middle.limit);
        let mut measure = Self::new(name, middle.value, unit, limit, target);
        measure.failures = failures;
        measure.load = Some(middle.load);
        if ratios.len() > 1 {
            measure = measure.note(format!("ratios of the turns: {}", ratios.join(", ")));
        }
        measure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_ratio_counts_and_every_failure() {
        let turn = |limit, rate, broken| {
            let requests = 1;
            let load = Outcome {
                requests,
                rate,
                broken,
                ..Outcome::default()
            };
            Turn::of_rate(limit, load)
        };
        let turns = vec![turn(10.0, 9.0, 0), turn(20.0, 10.0, 1), turn(50.0, 30.0, 0)];
        let measure = Measure::of_turns("discovery", "/s", "axum", turns, Target::AtLeast(0.5));
        assert_eq!((measure.value, measure.limit.value), (30.0, 50.0));
        assert_eq!(measure.notes, ["ratios of the turns: 0.50, 0.60, 0.90"]);
        assert_eq!(measure.failures.len(), 1);
    }
}
