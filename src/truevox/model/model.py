"""Model: a graph with a loss. It trains, predicts, describes itself, and goes to a folder and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from truevox.devices import resolve_device
from truevox.errors import SettingsError
from truevox.image import Image
from truevox.labels import Labels
from truevox.model.checks import check_grids, check_outputs, check_training, named_networks
from truevox.model.memory import MemoryPlan, memory_plan
from truevox.model.options import Options
from truevox.model.prediction import predict
from truevox.networks import Network
from truevox.origin import Origin
from truevox.pipeline.cache import Cache
from truevox.pipeline.cases import as_case
from truevox.pipeline.graph import Node, Transform, ancestors
from truevox.pipeline.kinds import Source
from truevox.pipeline.plan import Plan

if TYPE_CHECKING:
    from truevox.cohort import Case, Cohort
    from truevox.model.equivalence import Equivalence

__all__ = ["Model"]

Loss = Callable[[Tensor, Tensor], Tensor]


class Model:
    """Outputs of a graph, a loss, and the networks in between.

    Parameters
    ----------
    train : (prediction, label)
        What the loss compares. The prediction may be a tuple of nodes (deep supervision): the label is
        moved to each one's grid, and their losses are weighted 1, 1/2, 1/4, ... (normalised).
    predict : mapping of str to Node
        Named outputs, each on the grid of its reference.
    loss : callable, optional
        ``loss(logits, target)``; needed for :meth:`fit` only.

    Attributes
    ----------
    remarks : Counter
        What users should be told of the last runs: padded patches, labels without foreground.
    origins : dict of str to Origin
        What each trained output's probabilities come from; predictions hand it on to :func:`truevox.volume`.

    Raises
    ------
    GraphError
        If the outputs do not suit: fanned-out outputs, labels where predictions are expected, mirrored
        labels that the network's outputs do not mirror.

    Examples
    --------
    >>> import truevox as tv
    >>> scan, label = tv.Input("image"), tv.Input("mask", kind="label")
    >>> net = tv.Network(tv.networks.UNet(1, 1, channels=(4, 8)))
    >>> x, y = tv.RandomCrop(16)(scan, label)
    >>> full = tv.Put(like=scan)(tv.Sigmoid()(net(tv.GridCrop(16)(scan))))
    >>> model = Model(train=(net(x), y), predict={"mask": full}, loss=tv.losses.CrossEntropy())
    >>> model.inputs, model.targets
    (['image'], {'mask': 'mask'})
    """

    def __init__(
        self,
        train: tuple[Node | Sequence[Node], Node] | None,
        predict: Mapping[str, Node],
        loss: Loss | None = None,
        *,
        keys: Mapping[Transform, str] | None = None,
    ) -> None:
        self.loss_function = loss
        self.predictions = dict(sorted(predict.items()))
        self.pairs: list[tuple[Node, Node]] = []
        if train is not None:
            outputs, label = train
            many = [outputs] if isinstance(outputs, Node) else list(outputs)
            self.pairs = [(p, label) for p in many]
        trained = [p for p, _ in self.pairs] + [y for _, y in self.pairs[:1]]
        self.plan = Plan([*trained, *self.predictions.values()], keys)
        self.remarks: Counter[str] = Counter()
        self.origins: dict[str, Origin] = {}
        check_outputs(self.predictions)
        check_training(self.pairs)
        ops = dict.fromkeys(c.op for c in self.plan.calls if isinstance(c.op, Network))
        self.module_dict = named_networks({self.plan.keys[op]: op.module for op in ops})

    @property
    def inputs(self) -> list[str]:
        """Columns of the cohort that prediction reads."""
        calls = ancestors(self.predictions.values())
        return list(dict.fromkeys(c for call in calls for c in _columns(call.op)))

    @property
    def targets(self) -> dict[str, str | None]:
        """For each output, the label column that its network learned from."""
        found: dict[str, str | None] = {}
        for name in self.predictions:
            label = self._label_of(name)
            columns = [c for call in ancestors([label]) for c in _columns(call.op, "label")] if label else []
            found[name] = columns[-1] if columns else None
        return found

    def _label_of(self, name: str) -> Node | None:
        networks = {c.op for c in ancestors([self.predictions[name]]) if isinstance(c.op, Network)}
        return next((y for p, y in self.pairs if networks & {c.op for c in ancestors([p])}), None)

    @property
    def trained_outputs(self) -> list[str]:
        """Outputs whose network training moves."""
        return [name for name in self.predictions if self._label_of(name) is not None]

    def learned(self, name: str) -> Labels | None:
        """The label table that an output's network learned from."""
        label = self._label_of(name)
        return None if label is None else label.signature.labels

    @property
    def output_weights(self) -> list[float]:
        """Weight of each train output: halved with each coarser one."""
        raw = [0.5**k for k in range(len(self.pairs))]
        return [r / sum(raw) for r in raw]

    @property
    def loss(self) -> Loss:
        """The loss that training minimises."""
        return _required(self.loss_function)

    # ---- training --------------------------------------------------------------------------------

    def fit(
        self,
        train: Cohort,
        val: Cohort | None = None,
        *,
        max_steps: int | None = None,
        max_epochs: int | None = None,
        samples_per_case: int = 1,
        batch_size: int = 2,
        optimizer: Literal["adamw", "sgd"] = "adamw",
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        schedule: Literal["poly", "cosine", "constant", "onecycle"] = "poly",
        warmup_steps: int = 0,
        gradient_clip: float | None = 12.0,
        average: float = 0.0,
        seed: int = 0,
        workers: int = 0,
        val_every: int | None = None,
        checkpoint_every: int | None = None,
        out: str | Path | None = None,
        cache: str | Path | Cache | None = None,
        device: str = "auto",
        channels_last: bool = False,
        precision: Literal["float32", "bf16", "auto"] = "float32",
        mix_up: float = 0.0,
        report: Callable[[dict[str, Any]], None] | None = None,
        trainer: Mapping[str, Any] | None = None,
        check_only: bool = False,
    ) -> list[dict[str, float]]:
        """Train on a Lightning ``Trainer``.

        Parameters
        ----------
        train, val : Cohort
            Validation predicts whole scans, through the same graph as :meth:`predict`.
        max_steps, max_epochs : int
            One of them. An epoch is one sample per training case, times ``samples_per_case``.
        batch_size : int
            Samples per step and device.
        average : float
            Decay of an exponential moving average of the weights, which is then what predicts; 0 for none.
        seed : int
            Of all draws. A sample depends on it and on its number, not on workers, devices or resuming.
        val_every, checkpoint_every : int, optional
            Steps. No validation, a checkpoint every 5 % if left out.
        out : path, optional
            Folder of ``checkpoint.pt`` and ``history.csv``. Of a checkpoint that is there the run goes on.
        cache : path or Cache, optional
            Folder of the prefix cache; see :func:`truevox.pipeline.cache.default_folder`.
        device : str
            ``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``mps``.
        precision : {"float32", "bf16", "auto"}
            Of training; ``auto`` times a step of each on the first batch and takes the faster. Prediction and
            validation are float32.
        mix_up : float
            Blend each sample with another of its batch, a share from Beta(mix_up, mix_up) per step, and
            their losses likewise (Zhang et al. 2018). It needs batches of two or more; 0 for none.
        report : callable, optional
            Gets a dict every ten steps and after every validation.
        trainer : mapping, optional
            More options of Lightning's ``Trainer``: devices, strategy, callbacks, accumulate_grad_batches.
            Those that would change what a step or a sample is are refused, with what to use instead.
        check_only : bool
            Check all that can be checked before a run, the checkpoint in ``out`` too, and train nothing.

        Returns
        -------
        list of dict
            The history: step, loss, learning rate, validation scores.

        Raises
        ------
        CaseError
            If the training cohort is empty.
        SettingsError
            If a setting can't be used, or a checkpoint belongs to another run; says what differs.
        GraphError
            If the network can't produce the patch size; or if loss, gradient or weights are not finite:
            before the weights are touched, and the last good checkpoint stays.
        """
        from truevox.model.fitting import fit

        _required(self.pairs and self.loss_function)
        given = {
            "batch_size": batch_size, "optimizer": optimizer, "learning_rate": learning_rate,
            "weight_decay": weight_decay, "schedule": schedule, "warmup_steps": warmup_steps,
            "gradient_clip": gradient_clip, "average": average, "seed": seed, "channels_last": channels_last,
            "precision": precision, "mix_up": mix_up,
        }  # fmt: skip
        return fit(
            self, train, val, given, max_steps=max_steps, max_epochs=max_epochs, workers=workers,
            samples_per_case=samples_per_case, val_every=val_every, checkpoint_every=checkpoint_every,
            out=out, cache=cache, device=device, report=report, trainer=trainer, check_only=check_only,
        )  # fmt: skip

    def dry_run(self, case: Case | Mapping[str, Image]) -> None:
        """Compute all grids for one case, those of prediction too; raises what a run would."""
        check_grids(self.plan, self.pairs, as_case(case))

    # ---- prediction ------------------------------------------------------------------------------

    def predict(
        self,
        case: Case | Mapping[str, Image],
        *,
        batch_size: int | None = None,
        device: str | torch.device = "cpu",
        cache: Cache | None = None,
        max_memory: int | str | None = None,
        scratch: str | Path | None = None,
        body_box: bool = False,
        whole_volume: bool = False,
        precision: Literal["float32", "bf16"] = "float32",
    ) -> dict[str, Image]:
        """All outputs for one case, on the stored grid of their reference.

        Parameters
        ----------
        case : Case, or mapping of column to Image
        batch_size : int, optional
            Patches that go through the network together; one on a CPU and four elsewhere if left out.
        max_memory : int or str, optional
            Memory that the process may take in all, in bytes or as ``"2GiB"``. Batches become smaller, then
            whole volumes move to files, and then the prediction is refused.
        scratch : path, optional
            Folder of such files; the system's folder of temporary files if left out.
        body_box : bool
            Tiles only where the body is (:func:`~truevox.model.options.body_box`); what no tile reaches is
            background. It changes the prediction, as the next two do: see :meth:`equivalence`.
        whole_volume : bool
            One tile as large as the scan, padded to what the network takes.
        precision : {"float32", "bf16"}
            ``bf16``: the network runs in bfloat16, where torch has it for an operation.

        Returns
        -------
        dict of str to Image
            In the storage order of the reference's file, with its header.

        Raises
        ------
        CaseError
            If an output holds values that are not finite: voxels that no patch covered, or a network
            that diverged.
        SettingsError
            If ``max_memory`` does not suffice; says what would.
        """
        options = Options(
            batch_size, resolve_device(device), max_memory, scratch, body_box, whole_volume, precision
        )
        return predict(self, as_case(case), options, cache)

    def equivalence(
        self,
        cases: Iterable[Case | Mapping[str, Image]],
        *,
        device: str | torch.device = "cpu",
        body_box: bool = False,
        whole_volume: bool = False,
        precision: Literal["float32", "bf16"] = "float32",
    ) -> Equivalence:
        """Predict cases with and without options that change the prediction, and compare.

        Returns
        -------
        Equivalence
            Differences of masks, volumes and probabilities, and ratios of time and memory.
        """
        from truevox.model.equivalence import compare

        options = Options(None, resolve_device(device), None, None, body_box, whole_volume, precision)
        return compare(self, [as_case(case) for case in cases], options)

    # ---- description and files -------------------------------------------------------------------

    def summary(self, case: Case | Mapping[str, Image] | None = None, batch_size: int | None = None) -> str:
        """Every node with its grid, field of view and parameters, and the memory of a prediction, as text.

        Parameters
        ----------
        case : optional
            Whose grids and memory are shown.
        batch_size : int, optional
            Of the prediction whose memory is stated; as :meth:`predict` chooses it if left out.
        """
        from truevox.model import summary

        return summary.summary(self, None if case is None else as_case(case), Options(batch_size))

    def memory(
        self,
        case: Case | Mapping[str, Image],
        batch_size: int | None = None,
        *,
        max_memory: int | str | None = None,
        whole_volume: bool = False,
    ) -> MemoryPlan:
        """How :meth:`predict` will run with these options, and the memory it needs, from headers alone."""
        options = Options(batch_size, max_memory=max_memory, whole_volume=whole_volume)
        return memory_plan(self, as_case(case), options)

    def save(self, folder: str | Path) -> None:
        """Write the graph (JSON) and the weights (safetensors) to a folder.

        Raises
        ------
        GraphError, FileError
            If a node holds a field that is no plain data, or the folder can't be written.
        """
        from truevox.model.storage import save_model

        save_model(self, Path(folder))

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        networks: Mapping[str, nn.Module] | None = None,
        nodes: Sequence[type[Transform]] = (),
    ) -> Model:
        """Read a model. Nothing in the folder is executed.

        Parameters
        ----------
        networks : mapping of str to module
            Networks that are not part of TrueVox, by the name in the file (e.g. ``"Network.1"``).
        nodes : sequence of Transform classes
            Transforms that are not part of TrueVox.

        Raises
        ------
        FileError, GraphError
            If a file is missing or damaged, or the graph names something that is not registered.
        """
        from truevox.model.storage import load_model

        return load_model(Path(folder), networks or {}, nodes)


def _required(loss: Any) -> Loss:
    if not loss:
        raise SettingsError(
            "The model has no train outputs, or no loss.", remedy="Model(train=..., loss=...)"
        )
    return loss


def _columns(op: Transform, kind: str | None = None) -> tuple[str, ...]:
    if not isinstance(op, Source) or (kind is not None and getattr(op, "kind", None) != kind):
        return ()
    return op.columns()
