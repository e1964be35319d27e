//! What fails on the device is an error; resources are freed, the process and plans on the processor live on.

use crate::*;
use cudarc::driver::{CudaContext, LaunchConfig};
use std::process::Command;

#[test]
fn running_out_of_memory_is_an_error_that_passes() {
    if !device() {
        return;
    }
    let model = benchmark("si_bench");
    let gpu = plan(&model, Precision::F64);
    let (small, large) = (random(&model, 500, [true; 3], 1), random(&model, 100_000, [true; 3], 2));
    let expected = evaluate(&gpu, &mut gpu.neighbours(0.0).unwrap(), &small);
    let context = CudaContext::new(0).unwrap();
    let stream = context.default_stream();
    let mut hoard = Vec::new();
    for megabytes in [4096, 256, 16] {
        while context.mem_get_info().unwrap().0 > (megabytes + 24) << 20 {
            // SAFETY: never read.
            match unsafe { stream.alloc::<u8>(megabytes << 20) } {
                Ok(piece) => hoard.push(piece),
                Err(_) => break,
            }
        }
    }
    stream.synchronize().unwrap();
    let mut list = gpu.neighbours(0.0).unwrap();
    let (mut e, mut f) = (vec![0.0; 100_000], vec![[0.0; 3]; 100_000]);
    let message = energy_forces_virial(&gpu, (&large, &mut list), &mut e, &mut f).unwrap_err().to_string();
    assert!(message.contains("allocating") && message.contains("use fewer atoms at a time"), "{message}");
    let cpu = Plan::new(&model, Device::Cpu, Precision::F64).unwrap();
    let on_cpu = evaluate(&cpu, &mut cpu.neighbours(0.0).unwrap(), &small);
    assert_close("forces", on_cpu.2.as_flattened(), expected.2.as_flattened(), 1e-10);
    // What the failed call had is free again, and so is the rest.
    drop((list, hoard));
    stream.synchronize().unwrap();
    assert!(evaluate(&gpu, &mut gpu.neighbours(0.0).unwrap(), &small) == expected);
    let mut list = gpu.neighbours(0.0).unwrap();
    energy_forces_virial(&gpu, (&large, &mut list), &mut e, &mut f).unwrap();
}

/// Runs a test of this file that is otherwise ignored in a process of its own, and returns what it prints.
fn alone(test: &str, variables: &[(&str, &str)]) -> String {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.args([&format!("failures::{test}"), "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    let done = command.envs(variables.iter().copied()).output().expect("a process");
    let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && text.contains("1 passed"), "{text}");
    text
}

#[test]
fn a_lost_device_is_an_error_for_good() {
    if device() {
        alone("lose_the_device", &[]);
    }
}

#[test]
#[ignore = "it breaks the device for its process; `a_lost_device_is_an_error_for_good` runs it"]
fn lose_the_device() {
    let model = benchmark("sio_o2");
    let gpu = plan(&model, Precision::F64);
    let s = random(&model, 300, [true; 3], 1);
    let mut list = gpu.neighbours(0.0).unwrap();
    let expected = evaluate(&gpu, &mut list, &s);
    let code = "extern \"C\" __global__ void trap() { asm(\"trap;\"); }";
    let context = CudaContext::new(0).unwrap();
    let (major, minor) = context.compute_capability().unwrap();
    let (image, _) = acerust::cuda::compile::compile("trap", code, (10 * major + minor) as u32, &[]).unwrap();
    let module = context.load_module(cudarc::nvrtc::Ptx::from_binary(image)).unwrap();
    let stream = context.default_stream();
    let function = module.load_function("trap").unwrap();
    // SAFETY: the kernel has no arguments.
    unsafe { stream.launch_builder(&function).launch(LaunchConfig::for_num_elems(1)) }.unwrap();
    assert!(stream.synchronize().is_err());
    let (mut e, mut f) = (vec![0.0; 300], vec![[0.0; 3]; 300]);
    for _ in 0..2 {
        let message = energy_forces_virial(&gpu, (&s, &mut list), &mut e, &mut f).unwrap_err().to_string();
        assert!(message.starts_with("device: CUDA: ") && message.contains("lost to this process"), "{message}");
    }
    let message = site_energies(&gpu, &s, &mut e).unwrap_err().to_string();
    assert!(message.contains("lost to this process"), "{message}");
    let message = Plan::new(&model, Device::Cuda(0), Precision::F64).expect_err("an error").to_string();
    assert!(message.starts_with("device: CUDA: "), "{message}");
    drop((list, gpu));
    let cpu = Plan::new(&model, Device::Cpu, Precision::F64).unwrap();
    let on_cpu = evaluate(&cpu, &mut cpu.neighbours(0.0).unwrap(), &s);
    assert_close("forces", on_cpu.2.as_flattened(), expected.2.as_flattened(), 1e-10);
}

#[test]
fn without_nvrtc_the_message_says_what_to_install() {
    if device() {
        let nowhere = std::env::temp_dir().join(format!("acerust-no-cache-{}", std::process::id()));
        let nowhere = nowhere.to_str().expect("UTF-8");
        alone("evaluate_without_nvrtc", &[("ACERUST_NVRTC", "/nonexistent"), ("ACERUST_CACHE", nowhere)]);
    }
}

#[test]
#[ignore = "it needs an environment of its own; `without_nvrtc_the_message_says_what_to_install` runs it"]
fn evaluate_without_nvrtc() {
    let model = benchmark("sio_o2");
    let s = random(&model, 100, [true; 3], 1);
    let gpu = plan(&model, Precision::F64);
    let mut e = vec![0.0; 100];
    let message = site_energies(&gpu, &s, &mut e).unwrap_err().to_string();
    assert!(message.contains("NVRTC") && message.contains("pip install nvidia-cuda-nvrtc"), "{message}");
    let cpu = Plan::new(&model, Device::Cpu, Precision::F64).unwrap();
    evaluate(&cpu, &mut cpu.neighbours(0.0).unwrap(), &s);
}
