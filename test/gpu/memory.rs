//! Arrays in the memory of the device, from Rust and through the C ABI.

use crate::*;
#[path = "../capi/short.rs"]
mod short;

use acerust::capi::list::*;
use acerust::capi::model::*;
use acerust::capi::plan::*;
use acerust::capi::status::*;
use acerust::plan::{Input, OnDevice, Outputs};
use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtr};
use short::*;
use std::ptr::{null, null_mut};
use std::sync::Arc;

/// A structure and room for its results on the device.
struct Arrays {
    stream: Arc<CudaStream>,
    x: CudaSlice<f64>,
    energies: CudaSlice<f64>,
    forces: CudaSlice<f64>,
}

impl Arrays {
    fn new(s: &Structure) -> Arrays {
        let stream = CudaContext::new(0).unwrap().new_stream().unwrap();
        let nothing = |n| stream.clone_htod(&vec![f64::NAN; n]).unwrap();
        let x = stream.clone_htod(s.positions.as_flattened()).unwrap();
        Arrays { energies: nothing(s.n_atoms()), forces: nothing(3 * s.n_atoms()), x, stream }
    }

    /// Addresses of positions, site energies and forces.
    fn addresses(&self) -> [u64; 3] {
        [&self.x, &self.energies, &self.forces].map(|a| a.device_ptr(&self.stream).0)
    }
}

/// Energy and virial.
///
/// # Safety
/// As [`Input::on_device`].
unsafe fn at_addresses(plan: &Plan, list: &mut Neighbours, at: OnDevice) -> acerust::Result<(f64, Virial)> {
    let (mut energy, mut virial) = (f64::NAN, [[f64::NAN; 3]; 3]);
    // SAFETY: the caller's promise.
    let input = unsafe { Input::on_device(at, list) };
    plan.evaluate(input, &mut Outputs::new().energy(&mut energy).virial(&mut virial))?;
    Ok((energy, virial))
}

#[test]
fn positions_and_forces_may_stay_on_the_device() {
    if !device() {
        return;
    }
    let model = benchmark("sio_o2");
    for (precision, n) in [(Precision::F64, 500), (Precision::F32, 500), (Precision::F64, 9000)] {
        let gpu = plan(&model, precision);
        let s = random(&model, n, [true; 3], 4);
        let mut list = gpu.neighbours(0.2).unwrap();
        let (energy, sites, forces, virial) = evaluate(&gpu, &mut list, &s);
        let arrays = Arrays::new(&s);
        let [positions, site_energies, out] = arrays.addresses();
        let at = OnDevice {
            numbers: &s.numbers,
            cell: s.cell,
            pbc: s.pbc,
            positions,
            site_energies: Some(site_energies),
            forces: Some(out),
            stream: arrays.stream.cu_stream() as u64,
        };
        for _ in 0..4 {
            // SAFETY: the buffers hold n_atoms numbers or vectors.
            let found = unsafe { at_addresses(&gpu, &mut list, at) }.unwrap();
            assert!(found == (energy, virial));
            assert_eq!(arrays.stream.clone_dtoh(&arrays.energies).unwrap(), sites);
            assert_eq!(arrays.stream.clone_dtoh(&arrays.forces).unwrap(), forces.as_flattened());
        }
        assert_eq!(list.builds(), 1);
        // Addresses of the host are told from those of the device before anything happens.
        let host = OnDevice { positions: s.positions.as_ptr() as u64, ..at };
        // SAFETY: the address is refused.
        let message = unsafe { at_addresses(&gpu, &mut list, host) }.unwrap_err().to_string();
        assert!(
            message.starts_with("argument: positions: 0x") && message.ends_with("is no address of device 0"),
            "{message}"
        );
        let host = OnDevice { forces: Some(1), ..at };
        // SAFETY: as above.
        let message = unsafe { at_addresses(&gpu, &mut list, host) }.unwrap_err().to_string();
        assert_eq!(message, "argument: forces: 0x1 is no address of device 0");
        assert!(evaluate(&gpu, &mut list, &s) == (energy, sites, forces, virial));
    }
}

fn last_error() -> String {
    let mut bytes = vec![0_u8; 1000];
    // SAFETY: the buffer is as long as said.
    let n = unsafe { acerust_last_error(bytes.as_mut_ptr().cast(), bytes.len()) };
    String::from_utf8_lossy(&bytes[..n - 1]).into_owned()
}

#[test]
fn the_c_abi_takes_addresses_of_the_device() {
    if !device() {
        return;
    }
    let own = benchmark("sio_o2");
    let s = random(&own, 700, [true; 3], 8);
    let gpu = plan(&own, Precision::F64);
    let expected = evaluate(&gpu, &mut gpu.neighbours(0.0).unwrap(), &s);
    let arrays = Arrays::new(&s);
    let [x, e, f] = arrays.addresses();
    let n = s.n_atoms();
    let numbers: Vec<i32> = s.numbers.iter().map(|&z| z.into()).collect();
    let pbc = [1; 3];
    // SAFETY: buffers are as long as said, on the host and on the device.
    unsafe {
        let (json, mut model, mut plan, mut list) = (own.to_json(), null_mut(), null_mut(), null_mut());
        assert_eq!(acerust_model_from_json(json.as_ptr().cast(), json.len(), &mut model), ACERUST_OK);
        let made = acerust_plan_new(model, ACERUST_CUDA, 0, ACERUST_F64, null(), &mut plan);
        assert_eq!(made, ACERUST_OK, "{}", last_error());
        assert_eq!(acerust_list_new(plan, 0.0, &mut list), ACERUST_OK, "{}", last_error());
        let stream = arrays.stream.cu_stream().cast();
        let (mut energy, mut virial) = (f64::NAN, [f64::NAN; 9]);
        let mut call = |positions: u64, forces: u64| {
            acerust_list_device_energy_forces_virial(
                list,
                plan,
                n,
                numbers.as_ptr(),
                positions as *const f64,
                s.cell.as_flattened().as_ptr(),
                pbc.as_ptr(),
                stream,
                &mut energy,
                e as *mut f64,
                forces as *mut f64,
                virial.as_mut_ptr(),
            )
        };
        for _ in 0..3 {
            assert_eq!(call(x, f), ACERUST_OK, "{}", last_error());
        }
        let host = [0.0; 3];
        assert_eq!(call(host.as_ptr() as u64, f), ACERUST_ERROR_ARGUMENT);
        assert!(last_error().contains("positions: 0x") && last_error().contains("no address of device 0"));
        assert_eq!(call(x, 0), ACERUST_ERROR_ARGUMENT);
        assert!(energy == expected.0 && virial == expected.3.as_flattened());
        assert_eq!(arrays.stream.clone_dtoh(&arrays.energies).unwrap(), expected.1);
        assert_eq!(arrays.stream.clone_dtoh(&arrays.forces).unwrap(), expected.2.as_flattened());
        // The same list with arrays of the host.
        let mut sites = vec![f64::NAN; n];
        let status = acerust_list_energy_forces_virial(
            list,
            plan,
            n,
            numbers.as_ptr(),
            s.positions.as_flattened().as_ptr(),
            s.cell.as_flattened().as_ptr(),
            pbc.as_ptr(),
            null_mut(),
            sites.as_mut_ptr(),
            n,
            null_mut(),
            0,
            null_mut(),
        );
        assert_eq!(status, ACERUST_OK, "{}", last_error());
        assert_close("site energies", &sites, &expected.1, 1e-12);
        let mut builds = 0;
        assert_eq!(acerust_list_builds(list, &mut builds), ACERUST_OK);
        assert_eq!(builds, 1);
        for status in [acerust_list_free(list), acerust_plan_free(plan), acerust_model_free(model)] {
            assert_eq!(status, ACERUST_OK);
        }
        assert_eq!(acerust_list_free(list), ACERUST_ERROR_HANDLE);
    }
}
