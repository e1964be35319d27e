from os import PathLike
from typing import Any, Optional, Sequence, TypedDict, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

__version__: str
_Array = NDArray[np.float64]

class Outputs(TypedDict, total=False):
    energy: float
    site_energies: _Array
    forces: _Array
    virial: _Array
    site_virials: _Array
    committee_energies: _Array
    committee_site_energies: _Array
    committee_forces: _Array
    committee_virials: _Array
    grade: _Array
    descriptors: _Array

class Conditions(TypedDict, total=False):
    head: str
    total_charge: int
    total_spin: int

class DesignRows(TypedDict):
    energy: _Array
    forces: _Array
    virial: _Array

class Fitted(TypedDict):
    model: Model
    committee: _Array
    active_set: Optional[bytes]
    errors: dict[str, dict[str, Optional[float]]]
    skipped: dict[str, int]
    rows: int

def fit(recipe: str, images: Sequence[Any], active_set: bool = False, device: str = "cpu") -> Fitted: ...

_Shape = tuple[str, str, int]

def irreps(text: str) -> list[tuple[int, int, int]]: ...

class Operation:
    def __init__(self, descriptor: str, storage: str) -> None: ...
    def ports(self) -> tuple[list[_Shape], list[tuple[str, Optional[int]]], _Shape]: ...
    def paths(self) -> tuple[list[list[int]], list[tuple[int, int, int]]]: ...
    def run(
        self,
        rows: int,
        nodes: int,
        inputs: Sequence[Any],
        indices: Sequence[Any],
        results: Sequence[Any],
        cotangent: Any = None,
        directions: Optional[Sequence[Any]] = None,
    ) -> None: ...
    def prepare(self, device: int, rows: int, nodes: int, indices: Sequence[Any]) -> Any: ...

class Model:
    def __init__(self, path: Union[str, PathLike[str]]) -> None: ...
    @staticmethod
    def from_json(text: str) -> Model: ...
    def to_json(self) -> str: ...
    def save(self, path: Union[str, PathLike[str]]) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def species(self) -> list[int]: ...
    @property
    def elements(self) -> list[str]: ...
    @property
    def rcut(self) -> float: ...
    @property
    def n_basis(self) -> int: ...
    @property
    def length_basis(self) -> int: ...
    @property
    def parts(self) -> list[str]: ...
    @property
    def heads(self) -> list[str]: ...
    def extract(self, parts: Sequence[int]) -> Model: ...
    @property
    def linear_parameters(self) -> _Array: ...
    def with_linear_parameters(self, parameters: ArrayLike) -> Model: ...
    def summary(self) -> str: ...

class Neighbours:
    @property
    def builds(self) -> int: ...
    def holds(
        self, numbers: ArrayLike, positions: ArrayLike, cell: Optional[ArrayLike] = None, pbc: Optional[ArrayLike] = None
    ) -> bool: ...
    def last(self) -> Optional[tuple[list[int], _Array, list[list[float]], list[bool]]]: ...
    def forget(self) -> None: ...

class Plan:
    def __init__(
        self,
        model: Model,
        device: str = "cpu",
        precision: str = "f64",
        radial: str = "auto",
        threads: int = 0,
        committee: Union[ArrayLike, str, PathLike[str], None] = None,
        active_set: Union[str, PathLike[str], bytes, None] = None,
    ) -> None: ...
    @property
    def model(self) -> Model: ...
    @property
    def heads(self) -> list[str]: ...
    @property
    def rcut(self) -> float: ...
    @property
    def device(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def radial(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def committee(self) -> _Array: ...
    @property
    def changes(self) -> int: ...
    def set_linear_parameters(self, parameters: ArrayLike) -> None: ...
    def set_committee(self, parameters: Union[ArrayLike, str, PathLike[str]]) -> None: ...
    @property
    def active_set(self) -> Optional[bytes]: ...
    def set_active_set(self, active_set: Union[str, PathLike[str], bytes, None]) -> None: ...
    def neighbours(self, skin: float = 0.5) -> Neighbours: ...
    def evaluate(
        self,
        numbers: ArrayLike,
        positions: ArrayLike,
        cell: Optional[ArrayLike] = None,
        pbc: Optional[ArrayLike] = None,
        outputs: Optional[Sequence[str]] = None,
        neighbours: Optional[Neighbours] = None,
        conditions: Optional[Conditions] = None,
    ) -> Outputs: ...
    def evaluate_into(
        self,
        numbers: ArrayLike,
        positions: Any,
        out: dict[str, Any],
        cell: Optional[ArrayLike] = None,
        pbc: Optional[ArrayLike] = None,
        neighbours: Optional[Neighbours] = None,
        conditions: Optional[Conditions] = None,
    ) -> Outputs: ...
    def evaluate_batch(
        self,
        structures: Sequence[tuple[ArrayLike, ArrayLike, Optional[ArrayLike], Optional[ArrayLike]]],
        outputs: Optional[Sequence[str]] = None,
        conditions: Optional[Sequence[Conditions]] = None,
    ) -> list[Outputs]: ...
    def rows(
        self, numbers: ArrayLike, positions: ArrayLike, cell: Optional[ArrayLike] = None, pbc: Optional[ArrayLike] = None
    ) -> DesignRows: ...

class Evaluation:
    @property
    def energy(self) -> float: ...
    @property
    def site_energies(self) -> _Array: ...
    @property
    def forces(self) -> _Array: ...
    @property
    def virial(self) -> _Array: ...

class Training:
    def __init__(self, model: Model, precision: str = "f64", threads: int = 0) -> None: ...
    @property
    def parameters(self) -> list[tuple[str, tuple[int, ...], slice]]: ...
    @property
    def values(self) -> _Array: ...
    def set_values(self, values: ArrayLike) -> None: ...
    @property
    def model(self) -> Model: ...
    @property
    def precision(self) -> str: ...
    @property
    def threads(self) -> int: ...
    def set_loss_scale(self, scale: float) -> None: ...
    def evaluate(
        self,
        numbers: ArrayLike,
        positions: ArrayLike,
        cell: Optional[ArrayLike] = None,
        pbc: Optional[ArrayLike] = None,
        conditions: Optional[Conditions] = None,
    ) -> Evaluation: ...
    def gradient(
        self,
        evaluation: Evaluation,
        *,
        energy: float = 0.0,
        site_energies: Optional[ArrayLike] = None,
        forces: Optional[ArrayLike] = None,
        virial: Optional[ArrayLike] = None,
    ) -> _Array: ...

class LossScale:
    def __init__(self) -> None: ...
    @property
    def scale(self) -> float: ...
    def accept(self, finite: bool) -> bool: ...
