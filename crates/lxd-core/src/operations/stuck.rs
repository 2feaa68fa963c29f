//! Works that could not be undone whole: their records stay open, so that the next daemon tries again, until another work
//! on the same thing succeeds. From then on undoing the old one would only harm the new.

use parking_lot::Mutex;

use super::journal::{About, Outcome};

/// One of them.
struct Work {
    id: String,
    about: About,
    outcome: Outcome,
}

/// All that this daemon knows of.
#[derive(Default)]
pub(super) struct Stuck(Mutex<Vec<Work>>);

impl Stuck {
    /// Notes a work that was not undone whole, and how it has ended all the same.
    pub(super) fn note(&self, id: &str, about: &About, outcome: Outcome) {
        let (id, about) = (id.to_owned(), about.clone());
        self.0.lock().push(Work { id, about, outcome });
    }

    /// Takes out those that a work's success makes obsolete.
    pub(super) fn superseded_by(&self, about: &About) -> Vec<(String, Outcome)> {
        let mut works = self.0.lock();
        let obsolete = works.extract_if(.., |work| shares_a_resource(&work.about, about));
        obsolete.map(|work| (work.id, work.outcome)).collect()
    }
}

fn shares_a_resource(one: &About, other: &About) -> bool {
    // Another project may have a thing of the same name.
    let mut urls = one.resources.values().flatten();
    one.project == other.project
        && urls.any(|url| other.resources.values().flatten().any(|known| known == url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_thing_of_the_same_project_counts() {
        let about = |project: &str, url: &str| About {
            project: project.into(),
            resources: [("instances".to_owned(), vec![url.to_owned()])].into(),
            ..About::default()
        };
        let stuck = about("default", "/1.0/instances/c1");
        assert!(shares_a_resource(&stuck, &stuck.clone()));
        assert!(!shares_a_resource(&stuck, &about("default", "/1.0/instances/c2")));
        assert!(!shares_a_resource(&stuck, &about("other", "/1.0/instances/c1")));
        assert!(!shares_a_resource(&About::default(), &About::default()));
    }
}
