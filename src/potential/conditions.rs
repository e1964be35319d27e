//! What a call may say of its structure beyond the atoms.

/// The head of a model that has several, and properties of the whole structure that a model may know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Conditions {
    /// `None`: the first one.
    pub head: Option<String>,
    /// In elementary charges; `None`: 0.
    pub total_charge: Option<i64>,
    /// As the model counts it, usually the multiplicity; `None`: 1.
    pub total_spin: Option<i64>,
}

impl Conditions {
    pub fn new() -> Conditions {
        Conditions::default()
    }

    pub fn head(self, name: impl Into<String>) -> Conditions {
        Conditions { head: Some(name.into()), ..self }
    }

    pub fn total_charge(self, charge: i64) -> Conditions {
        Conditions { total_charge: Some(charge), ..self }
    }

    pub fn total_spin(self, spin: i64) -> Conditions {
        Conditions { total_spin: Some(spin), ..self }
    }
}
