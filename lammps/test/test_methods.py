"""What LAMMPS does with a potential: the same on any number of processes, and consistent with itself."""
import numpy as np
import pytest
from lammps_runs import BIN, close, crystal, expected, lammps, report, results, setup


@pytest.mark.parametrize("newton", ["on", "off"])
def test_nve(tmp_path, newton):
    """The same trajectory to rounding; atoms move between processes and lists are built anew; energy is conserved."""
    system = crystal((3, 3, 3), temperature=1500, seed=1)

    def commands(steps):
        return setup(tmp_path, system, newton=newton) + [
            f"timestep {0.05 / steps}",
            "neighbor 0.3 bin",
            "neigh_modify every 1 delay 0 check yes",
            "fix 1 all nve",
            "run 0",
            'print "TOTAL $(etotal:%.17g)"',
            f"run {steps}",
            'print "TOTAL $(etotal:%.17g)"',
            *report("nve", tmp_path, "id fx fy fz xu yu zu vx vy vz"),
        ]

    def change(output):
        before, after = (float(line.split()[1]) for line in output.splitlines() if line.startswith("TOTAL "))
        return after - before

    output = lammps(tmp_path, commands(100), 1)
    reference, error = results(tmp_path, output)["nve"], change(output)
    for n in (2, 4):
        output = lammps(tmp_path, commands(100), n)
        assert int(output.split("Neighbor list builds =")[-1].split()[0]) > 0
        found = results(tmp_path, output)["nve"]
        close(found["dump"], reference["dump"], 1e-9, f"{n} processes")
        close(found["virial"], reference["virial"], 1e-9, f"{n} processes")
    # That of the integrator, of second order in the time step.
    assert 3.8 < error / change(lammps(tmp_path, commands(200), 2)) < 4.2


def test_npt(tmp_path):
    """A barostat on a triclinic cell."""
    system = crystal((3, 3, 3), temperature=600, seed=2)
    system.cell[1, 0] = 0.7
    commands = setup(tmp_path, system) + [
        "timestep 0.001",
        "fix 1 all npt temp 600 600 0.1 tri 0 0 1",
        "run 60",
        *report("npt", tmp_path, "id fx fy fz xu yu zu"),
        'print "BOX $(lx:%.17g) $(xy:%.17g) $(yz:%.17g)"',
    ]
    boxes, found = {}, {}
    for n in (1, 4):
        output = lammps(tmp_path, commands, n)
        found[n] = results(tmp_path, output)["npt"]["dump"]
        boxes[n] = np.array(next(line.split()[1:] for line in output.splitlines() if line.startswith("BOX ")), float)
    assert abs(boxes[1][0] - 3 * 5.47) > 1e-3
    close(boxes[4], boxes[1], 1e-10)
    close(found[4], found[1], 1e-9)


def test_minimize(tmp_path):
    """Down to the perfect crystal, and with a relaxing box to the lattice constant where the virial vanishes."""
    system = crystal((2, 2, 2), rattle=0.1, seed=3)
    relax = ["min_style cg", "minimize 0 1e-8 2000 8000", *report("fixed", tmp_path)]
    relax += ["fix box all box/relax iso 0", "minimize 0 1e-8 2000 8000", *report("free", tmp_path, "id fx fy fz x y z")]
    relax += ['print "BOX $(lx:%.17g)"']
    perfect = expected(crystal((2, 2, 2), rattle=0))
    for n in (1, 4):
        output = lammps(tmp_path, setup(tmp_path, system) + relax, n)
        found = results(tmp_path, output)
        close(found["fixed"]["energy"], perfect["energy"], 1e-9)
        assert np.max(np.abs(found["fixed"]["dump"])) < 1e-4
        pressure = np.trace(found["free"]["virial"]) / 3
        assert abs(pressure) < 1e-2 and found["free"]["energy"] < found["fixed"]["energy"]


def test_rerun(tmp_path):
    """Energies of the frames of a dump are those of the run that wrote it."""
    system = crystal((2, 2, 2), temperature=900, seed=4)
    dump = f"{tmp_path}/run.dump"
    run = setup(tmp_path, system) + [
        "fix 1 all nve",
        f"dump 1 all custom 10 {dump} id type x y z fx fy fz",
        "dump_modify 1 format float %.17g sort id",
        "thermo_style custom step pe",
        "thermo_modify format float %.15g",
        "thermo 10",
        "run 30",
    ]
    again = setup(tmp_path, system) + [
        "thermo_style custom step pe",
        "thermo_modify format float %.15g",
        "thermo 10",
        f"rerun {dump} dump x y z",
        f"write_dump all custom {tmp_path}/again.dump id fx fy fz modify sort id format float %.17g",
    ]

    def energies(output):
        rows = [line.split() for line in output.splitlines()]
        return [float(row[1]) for row in rows if len(row) == 2 and row[0] in ("0", "10", "20", "30")]

    reference = energies(lammps(tmp_path, run, 2))
    assert len(reference) == 4
    for n in (1, 4):
        found = energies(lammps(tmp_path, again, n))
        close(found, np.array(reference), 1e-11)
        forces = np.loadtxt(f"{tmp_path}/again.dump", skiprows=9)[:, 1:]
        close(forces, np.loadtxt(dump, skiprows=3 * (9 + len(system.types)) + 9)[:, 5:], 1e-9)


def test_restart(tmp_path):
    """A run that is broken off and taken up again is the same run."""
    system = crystal((2, 2, 2), temperature=900, seed=5)
    columns = "id fx fy fz xu yu zu vx vy vz"
    first = setup(tmp_path, system) + ["fix 1 all nve", "run 20", f"write_restart {tmp_path}/half.restart", "run 20", *report("whole", tmp_path, columns)]
    second = setup(tmp_path, system)
    at = next(k for k, line in enumerate(second) if line.startswith("read_data"))
    second[at] = f"read_restart {tmp_path}/half.restart"
    second = [line for line in second if not line.startswith(("boundary", "atom_modify"))]
    second += ["fix 1 all nve", "run 20", *report("rest", tmp_path, columns)]
    whole = results(tmp_path, lammps(tmp_path, first, 2))["whole"]
    rest = results(tmp_path, lammps(tmp_path, second, 4))["rest"]
    close(rest["dump"], whole["dump"], 1e-9)


def test_neb(tmp_path):
    """A vacancy hops in silicon: images are partitions of processes, and the band is the same whatever their number."""
    system = crystal((2, 2, 2), rattle=0)
    keep = np.arange(len(system.types)) != 0
    neighbour = int(np.argmin(np.where(keep, np.sum((system.positions - system.positions[0]) ** 2, axis=1), np.inf)))
    end = f"{neighbour} " + " ".join(repr(float(x)) for x in system.positions[0])
    system.positions, system.types, system.velocities = system.positions[keep], system.types[keep], None
    (tmp_path / "final").write_text(f"1\n{end}\n")
    commands = setup(tmp_path, system) + [
        "fix 1 all neb 1.0",
        "timestep 0.01",
        "min_style quickmin",
        f"neb 0.0 0.01 20 10 10 final {tmp_path}/final",
    ]
    bands = {}
    for n, partition in [(3, "3x1"), (6, "3x2")]:
        lammps(tmp_path, commands, n, ["-partition", partition, "-screen", "none", "-log", "log.lammps"], check=True)
        lines = (tmp_path / "log.lammps").read_text().splitlines()
        bands[n] = np.array([line.split() for line in lines if line.split() and line.split()[0].isdigit()], float)
        assert len(bands[n]) > 4 and np.all(np.isfinite(bands[n]))
    close(bands[6], bands[3], 1e-6)


def test_python_library(tmp_path):
    """LAMMPS as a library of Python, several at once."""
    import subprocess
    import sys

    system = crystal((2, 2, 2), seed=6)
    lines = setup(tmp_path, system)
    script = f"""
from lammps import lammps
one, two = (lammps(cmdargs=["-log", "none", "-screen", "none"]) for _ in range(2))
for lmp in (one, two):
    lmp.commands_list({lines!r} + ["run 0"])
one.close()
two.command("run 0")
print("ENERGY", repr(two.get_thermo("pe")))
"""
    environment = {"LD_LIBRARY_PATH": str(BIN.parent / "lib"), "PATH": str(BIN)}
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    close(float(run.stdout.split("ENERGY")[1]), expected(system)["energy"], 1e-12)
