//! The correctness battery: every check runs for a list of [`cases`], on any device.
#![allow(dead_code)]

pub mod against_naive;
pub mod cases;
pub mod consistency;
pub mod derivatives;
pub mod determinism;
pub mod dimers;
pub mod edge_cases;
pub mod graphs;
pub mod invariance;
pub mod models;
pub mod paths;
pub mod random;
pub mod results;
pub mod structures;

/// One test for each check, on these cases.
macro_rules! battery {
    ($cases:expr) => {
        $crate::checks::battery! { $cases;
            against_naive: random_models;
            consistency: rows_times_parameters, layouts_of_rows, committees_and_parameters;
            derivatives: finite_differences;
            determinism: any_number_of_threads, used_memory, concurrent_calls;
            dimers: all_distances, continuity_at_the_cutoff;
            edge_cases: few_or_lonely_atoms, models_of_one_part, near_contact, odd_transforms, refusals;
            graphs: ghosts, skin, moving;
            invariance: symmetries;
            paths: one_sum, virials_of_atoms, owned_centres;
        }
    };
    ($cases:expr; $($module:ident: $($check:ident),*;)*) => {
        $(mod $module {
            $(#[test]
            fn $check() {
                // Without cases (no device) there is nothing to check; who made the list has said so.
                let cases = $cases;
                if !cases.is_empty() {
                    $crate::checks::$module::$check(&cases);
                }
            })*
        })*
    };
}
pub(crate) use battery;
