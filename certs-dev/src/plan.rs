//! Who is in the federation: names, regions, homes.

use liaison_protocol::ids::{AgencyId, NodeId, ParseIdError, Region};

/// Regions by name and prefix of their relays; more are numbered.
const REGIONS: [(&str, &str); 5] =
    [("asia", "ap"), ("europe", "eu"), ("africa", "af"), ("americas", "am"), ("oceania", "oc")];

/// Agencies and the region in [`REGIONS`] where they are at home; more are numbered.
const AGENCIES: [(&str, usize); 16] = [
    ("ncb.sg", 0),
    ("ncb.ee", 1),
    ("ncb.fr", 1),
    ("ncb.jp", 0),
    ("ncb.de", 1),
    ("ncb.ke", 2),
    ("ncb.br", 3),
    ("ncb.au", 4),
    ("ncb.in", 0),
    ("ncb.nl", 1),
    ("ncb.za", 2),
    ("ncb.us", 3),
    ("ncb.nz", 4),
    ("ncb.kr", 0),
    ("ncb.pl", 1),
    ("ncb.gh", 2),
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) relays: Vec<PlannedRelay>,
    pub(crate) agencies: Vec<PlannedAgency>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedRelay {
    pub(crate) id: NodeId,
    pub(crate) region: Region,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedAgency {
    pub(crate) id: AgencyId,
    pub(crate) region: Region,
    /// All relays of the region; neighbours begin with different ones.
    pub(crate) home: Vec<NodeId>,
}

/// Lays out `regions` regions of `relays_per_region` relays each, and `agencies` agencies in them.
pub(crate) fn plan(regions: usize, relays_per_region: usize, agencies: usize) -> Result<Plan, ParseIdError> {
    let mut relays = Vec::new();
    for region in 0..regions {
        let (name, prefix) = region_name(region);
        for number in 1..=relays_per_region {
            relays.push(PlannedRelay { id: format!("{prefix}-{number}").parse()?, region: name.parse()? });
        }
    }
    let mut members = vec![0; regions];
    let agencies = (0..agencies).map(|index| {
        let (name, natural) = agency_name(index);
        let region = natural.filter(|region| *region < regions).unwrap_or(index % regions);
        let mut home: Vec<NodeId> = relays
            .iter()
            .skip(region * relays_per_region)
            .take(relays_per_region)
            .map(|relay| relay.id.clone())
            .collect();
        if let Some(member) = members.get_mut(region) {
            home.rotate_left(*member % relays_per_region);
            *member += 1;
        }
        Ok(PlannedAgency { id: name.parse()?, region: region_name(region).0.parse()?, home })
    });
    let agencies = agencies.collect::<Result<_, ParseIdError>>()?;
    Ok(Plan { relays, agencies })
}

fn region_name(index: usize) -> (String, String) {
    match REGIONS.get(index) {
        Some((name, prefix)) => ((*name).into(), (*prefix).into()),
        None => (format!("region-{}", index + 1), format!("r{}", index + 1)),
    }
}

fn agency_name(index: usize) -> (String, Option<usize>) {
    match AGENCIES.get(index) {
        Some((name, region)) => ((*name).into(), Some(*region)),
        None => (format!("agency-{}.example", index + 1), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_one_that_documents_show() {
        let plan = plan(2, 1, 3).unwrap();
        let relays: Vec<_> = plan.relays.iter().map(|relay| (relay.id.as_str(), relay.region.as_str())).collect();
        assert_eq!(relays, [("ap-1", "asia"), ("eu-1", "europe")]);
        let homes: Vec<_> = plan.agencies.iter().map(|agency| (agency.id.as_str(), agency.home[0].as_str())).collect();
        assert_eq!(homes, [("ncb.sg", "ap-1"), ("ncb.ee", "eu-1"), ("ncb.fr", "eu-1")]);
    }

    #[test]
    fn neighbours_in_a_region_begin_with_different_relays() {
        let plan = plan(2, 2, 3).unwrap();
        assert_eq!(plan.agencies[1].home, ["eu-1", "eu-2"].map(|id| id.parse().unwrap()));
        assert_eq!(plan.agencies[2].home, ["eu-2", "eu-1"].map(|id| id.parse().unwrap()));
    }

    #[test]
    fn larger_federations_have_numbered_names_and_nobody_is_without_a_home() {
        let plan = plan(7, 3, 500).unwrap();
        assert_eq!(plan.relays.len(), 21);
        assert_eq!(plan.relays[20].id.as_str(), "r7-3");
        assert!(plan.agencies.iter().all(|agency| agency.home.len() == 3));
        let names: std::collections::BTreeSet<_> = plan.agencies.iter().map(|agency| &agency.id).collect();
        assert_eq!(names.len(), 500);
    }
}
