//! Which partition takes a mailbox that has none above it, where `defaultpartition` does not say.

use crate::ident::Partition;
use crate::sys::Space;

/// How a partition is chosen; the options `partition_select_*` of imapd.conf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionChoice {
    /// `partition_select_mode`
    pub mode: ChoiceMode,
    /// `partition_select_exclude`: partitions that are never chosen.
    pub exclude: Vec<String>,
    /// `partition_select_soft_usage_limit`: per cent above which a partition is left out as long as others are below;
    /// 0 for no such limit.
    pub soft_usage_limit: u8,
}

/// What speaks for a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChoiceMode {
    /// Nothing: all are alike.
    Random,
    /// The most octets free.
    #[default]
    FreespaceMost,
    /// The largest part free.
    FreespacePercentMost,
    /// Chance, which favours each by its free part.
    FreespacePercentWeighted,
    /// Chance, which favours each by how far it is behind the fullest.
    FreespacePercentWeightedDelta,
}

impl PartitionChoice {
    /// Chooses among partitions with the room on each; `chance` is any number. `None` without a candidate.
    pub(crate) fn choose(&self, spaces: &[(&Partition, Space)], chance: u64) -> Option<Partition> {
        let allowed =
            |(name, _): &&(&Partition, Space)| !self.exclude.iter().any(|other| other == name.as_str());
        let candidates: Vec<&(&Partition, Space)> = spaces.iter().filter(allowed).collect();
        let limit = u64::from(self.soft_usage_limit);
        let is_roomy = |space: &Space| limit == 0 || used_percent(space) <= limit;
        let roomy: Vec<_> = candidates
            .iter()
            .copied()
            .filter(|(_, space)| is_roomy(space))
            .collect();
        // With all of them over the limit, the limit says nothing.
        let candidates = if roomy.is_empty() { candidates } else { roomy };
        let fullest = candidates
            .iter()
            .map(|(_, space)| free_permille(space))
            .min()
            .unwrap_or_default();
        let weight = |space: &Space| match self.mode {
            ChoiceMode::Random | ChoiceMode::FreespaceMost | ChoiceMode::FreespacePercentMost => 1,
            ChoiceMode::FreespacePercentWeighted => free_permille(space),
            // The fullest one keeps a small chance.
            ChoiceMode::FreespacePercentWeightedDelta => free_permille(space) - fullest + 5,
        };
        let most = |of: fn(&Space) -> u64| {
            // Of equals, the first.
            let best = candidates.iter().rev().max_by_key(|(_, space)| of(space))?;
            Some(best.0.clone())
        };
        match self.mode {
            ChoiceMode::FreespaceMost => most(|space| space.available),
            ChoiceMode::FreespacePercentMost => most(free_permille),
            _ => {
                let total: u64 = candidates.iter().map(|(_, space)| weight(space).max(1)).sum();
                let mut at = chance.checked_rem(total)?;
                for (name, space) in &candidates {
                    let weight = weight(space).max(1);
                    if at < weight {
                        return Some((*name).clone());
                    }
                    at -= weight;
                }
                None
            }
        }
    }
}

fn free_permille(space: &Space) -> u64 {
    let permille = u128::from(space.available) * 1000 / u128::from(space.total.max(1));
    u64::try_from(permille.min(1000)).unwrap_or(1000)
}

fn used_percent(space: &Space) -> u64 {
    (1000 - free_permille(space)).div_ceil(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(choice: &PartitionChoice, spaces: &[(&str, u64, u64)], chance: u64) -> String {
        let names: Vec<Partition> = spaces
            .iter()
            .map(|(name, ..)| Partition::new(name).unwrap())
            .collect();
        let spaces: Vec<(&Partition, Space)> = names
            .iter()
            .zip(spaces)
            .map(|(name, &(_, available, total))| (name, Space { available, total }))
            .collect();
        choice
            .choose(&spaces, chance)
            .map_or_else(String::new, |name| name.to_string())
    }

    const SPACES: &[(&str, u64, u64)] = &[("large", 400, 4000), ("small", 90, 100), ("tiny", 5, 10)];

    #[test]
    fn the_most_room_or_the_largest_part_of_it_decides() {
        let mut choice = PartitionChoice::default();
        assert_eq!(chosen(&choice, SPACES, 7), "large");
        choice.mode = ChoiceMode::FreespacePercentMost;
        assert_eq!(chosen(&choice, SPACES, 7), "small");
        choice.exclude = vec!["small".to_owned()];
        assert_eq!(chosen(&choice, SPACES, 7), "tiny");
        choice.exclude.extend(["large".to_owned(), "tiny".to_owned()]);
        assert_eq!(chosen(&choice, SPACES, 7), "");
    }

    #[test]
    fn a_partition_over_the_limit_is_left_out_unless_all_are() {
        let mut choice = PartitionChoice {
            soft_usage_limit: 80,
            ..PartitionChoice::default()
        };
        assert_eq!(chosen(&choice, SPACES, 0), "small");
        choice.soft_usage_limit = 5;
        assert_eq!(chosen(&choice, SPACES, 0), "large");
    }

    #[test]
    fn chance_favours_as_the_mode_says() {
        let shares = |mode| {
            let choice = PartitionChoice {
                mode,
                ..PartitionChoice::default()
            };
            let mut counts = [0; 3];
            for chance in 0..15_000 {
                let name = chosen(&choice, SPACES, chance);
                let at = SPACES.iter().position(|(known, ..)| *known == name).unwrap();
                counts[at] += 1;
            }
            counts
        };
        assert_eq!(shares(ChoiceMode::Random), [5000; 3]);
        assert_eq!(shares(ChoiceMode::FreespacePercentWeighted), [1000, 9000, 5000]);
        let [large, small, tiny] = shares(ChoiceMode::FreespacePercentWeightedDelta);
        assert!(0 < large && large < 100 && small > tiny && tiny > 4000);
    }

    #[test]
    fn a_mailbox_without_one_above_goes_where_the_choice_says() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["one", "two"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        for (excluded, partition) in [("one", "two"), ("two", "one")] {
            let mut options = crate::StoreOptions::new(dir.path().join("conf"))
                .partition("one", dir.path().join("one"))
                .partition("two", dir.path().join("two"));
            options.default_partition = None;
            options.partition_choice.exclude = vec![excluded.to_owned()];
            let store = crate::Store::open(options).unwrap();
            let name = crate::MailboxName::parse(&format!("user.without{excluded}")).unwrap();
            store.create(&name, &cyrus_acl::AuthState::system()).unwrap();
            let entry = store.lookup(&name).unwrap().unwrap();
            assert_eq!(entry.partition.as_ref().map(Partition::as_str), Some(partition));
        }
    }
}
