//! A way to compute: device, precision, options; and the error that is allowed.

use acerust::model::Model;
use acerust::plan::Isa;
use acerust::plan::{Device, Options, Plan, Precision, RadialMode};

#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub device: Device,
    pub precision: Precision,
    pub options: Options,
    /// Relative to the largest entry.
    pub tolerance: f64,
}

impl Case {
    pub fn plan(&self, model: &Model) -> Plan {
        Plan::with_options(model, self.device, self.precision, self.options).expect("a plan")
    }

    pub fn label(&self) -> String {
        let radial = match self.options.radial {
            Some(RadialMode::Exact) => "exact".into(),
            Some(RadialMode::Table { tolerance }) => format!("table {tolerance:.0e}"),
            Some(_) => "pace-table".into(),
            None => "default".into(),
        };
        let isa = self.options.isa.map_or(String::new(), |isa| format!(" {isa:?}"));
        format!("{:?}{isa} {} {radial}", self.device, self.precision)
    }

    /// The same with the tolerance of rounding alone, for what is equal but for the order of sums.
    pub fn rounding(&self) -> Case {
        Case { tolerance: if self.double() { 1e-11 } else { 2e-5 }, ..*self }
    }

    pub fn double(&self) -> bool {
        self.precision == Precision::F64
    }

    pub fn exact(&self) -> bool {
        self.options.radial == Some(RadialMode::Exact)
    }
}

/// Precisions and radial modes on one device and instruction set.
pub fn on(device: Device, isa: Option<Isa>) -> Vec<Case> {
    let case = |precision, radial, tolerance| {
        let mut options = Options::new().radial(radial);
        options.isa = isa;
        Case { device, precision, options, tolerance }
    };
    let table = |tolerance| RadialMode::Table { tolerance };
    vec![
        case(Precision::F64, RadialMode::Exact, 1e-12),
        case(Precision::F64, table(1e-8), 1e-7),
        case(Precision::F64, table(FINE), 1e-10),
        case(Precision::F32, RadialMode::Exact, 2e-5),
        case(Precision::F32, table(1e-7), 2e-5),
    ]
}

/// A table so accurate that it takes long to make.
const FINE: f64 = 1e-11;

/// The best instruction set of this processor in all ways; the others exactly, and with `ACERUST_TEST=all` in all ways but the finest tables.
pub fn cpu() -> Vec<Case> {
    let (best, whole) = (Isa::detect(), std::env::var("ACERUST_TEST").is_ok_and(|v| v == "all"));
    let fine = |case: &Case| case.options.radial == Some(RadialMode::Table { tolerance: FINE });
    let taken = move |case: &Case| case.options.isa == Some(best) || case.exact() || whole && !fine(case);
    Isa::available().into_iter().flat_map(|isa| on(Device::Cpu, Some(isa)).into_iter().filter(taken)).collect()
}
