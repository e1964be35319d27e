"""Draws melt.svg from the melt.dat of melt.in; needs matplotlib."""
import matplotlib
import numpy as np

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

_, temperature, volume, energy, msd = np.loadtxt("melt.dat").T
figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
for axis, values, label in zip(axes, (volume, energy, msd), ("volume / Å³ an atom", "potential energy / eV an atom", "mean squared displacement / Å²")):
    axis.plot(temperature, values, ".", markersize=3)
    axis.set(xlabel="temperature / K", ylabel=label)
figure.suptitle("Silicon, heated from 300 to 2400 K at no pressure")
figure.savefig("melt.svg", metadata={"Date": None})
