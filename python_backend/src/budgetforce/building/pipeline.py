# SPDX-License-Identifier: Apache-2.0
"""Run the steps of a build in a work folder: download, convert, build, render, verify.

    WORK/model        the hub's files (a folder given with --model is used where it is)
    WORK/tokenizer    only the model's tokenizer
    WORK/checkpoint   TensorRT-LLM's checkpoint: config.json, rank0.safetensors, …
    WORK/engine       the engine: config.json, rank0.engine, …, manifest
    WORK/logs         output of the tools

A step that was done from the same inputs is not repeated, and its inputs are no longer needed: once the engine exists,
``model`` and ``checkpoint`` can be removed.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from budgetforce.building import manifest, planner, preflight, weights
from budgetforce.building.commands import Tools, build_command, check_calibration, convert_command
from budgetforce.building.gpus import GB, MIB, Gpu
from budgetforce.building.machine import Machine, host_memory_bytes, inspect_machine
from budgetforce.building.plan_command import quantise_refusal, refusal
from budgetforce.building.render import MODEL, engine_parameters, render_config
from budgetforce.building.spec import IMAGE, TENSORRT_LLM_VERSION, EngineSpec, ModelShape
from budgetforce.building.stage import BuildFailed, Result, Stage, locked
from budgetforce.building.toolrun import Run, duration
from budgetforce.building.verify import problems
from budgetforce.provenance import check_weights

STEPS = ("download", "convert", "build", "render", "verify")
RESULTS = {"convert": "checkpoint", "build": "engine"}
NO_GPU = Gpu(name="no GPU", memory_bytes=0)  # disk and time do not depend on the GPU


class Build:
    """The build of one engine in one work folder.

    Attributes:
        repository: Triton's model repository, in which the config is written.
        engine_path: the engine's path for the server; by default its path here.

    Args:
        skip_plan: build even if the plan says that the engine does not fit this machine's GPUs.
    """

    def __init__(
        self, spec: EngineSpec, work: Path, repository: Path, tools: Tools, engine_path: str = "", skip_plan: bool = False
    ) -> None:
        self._skip_plan = skip_plan
        self.spec, self.work, self.repository, self.tools = spec, work.resolve(), repository.resolve(), tools
        self.engine_path = engine_path or str(self.work / "engine")

    def run(self, steps: Sequence[str]) -> None:
        """Run steps in order. Raises BuildFailed or ConfigError at the first that cannot be done."""
        with locked(self.work):
            for step in self._needed(steps):
                try:
                    getattr(self, step)()
                except OSError as error:  # disk full, or folder not writable
                    raise BuildFailed(f"stage {step}: {error}") from error

    def dry_run(self, steps: Sequence[str]) -> Iterator[str]:
        """Yield the tools' shell commands and the other actions as comments, without doing anything."""
        lines = {
            "download": f"# download: {self.spec.model} {f'at {self.spec.revision} ' if self.spec.revision else ''}-> {self.weights}",
            "convert": shlex.join(convert_command(self.spec, self.tools, self.weights, self.work / "checkpoint.partial")),
            "build": shlex.join(self._build_command(self.work / "engine.partial")),
            "render": f"# render: {self.repository / MODEL / 'config.pbtxt'}, engine at {self.engine_path}",
            "verify": f"# verify: {self.work / 'engine'}",
        }
        for step in steps:
            yield lines[step]
            if step in ("convert", "build"):
                name = "checkpoint" if step == "convert" else "engine"
                yield f"# {name}.partial becomes {name}"

    def _needed(self, steps: Sequence[str]) -> Iterator[str]:
        """Yield the steps that have to be done: the inputs of a finished engine are not made again.

        Raises BuildFailed, before anything is downloaded, if this machine cannot do the rest.
        """
        # Before any request to the hub: a step without a result has to be done on this machine.
        self._check_machine([step for step in RESULTS if step in steps and not self._may_be_done(RESULTS[step])])
        is_pending = {step: not self._is_done(getattr(self, RESULTS[step])) for step in RESULTS if step in steps}
        is_built = is_pending.get("build") is False
        pending = [] if is_built else [step for step in is_pending if is_pending[step]]
        self._check_machine(pending)
        self._check_plan(pending)
        for step in steps:
            if is_built and (step == "convert" or (step == "download" and self._is_done(self.tokenizer))):
                _say(f"{step}: not needed, the engine exists")
            else:
                yield step

    def _check_machine(self, steps: Sequence[str]) -> None:
        if not steps:
            return
        version, gpus = self.machine.tensorrt_llm, self.machine.gpus
        if version.partition("+")[0] != TENSORRT_LLM_VERSION:
            raise BuildFailed(f"TensorRT-LLM: found {version or 'none'}, expected {TENSORRT_LLM_VERSION}: build inside {IMAGE}")
        need = self.spec.tp if "build" in steps else 0 if self.spec.variant == "bf16" else 1
        if len(gpus) < need:
            raise BuildFailed(f"{len(gpus)} GPUs are visible, {need} are needed: build on the serving machine, or with another --tp")
        driver = preflight.driver(self.machine)
        if need and driver.state == preflight.WRONG:
            raise BuildFailed(str(driver))

    def _may_be_done(self, result: str) -> bool:
        """Whether a step has left any result; whether it is for these inputs depends on the model's commit, which is not known yet."""
        folder = self.work / result
        return folder.exists() or folder.with_name(f"{folder.name}.partial").exists()

    def _check_plan(self, steps: Sequence[str]) -> None:
        """Raise BuildFailed if, by the plan, the engine does not fit the GPUs or the weights cannot be quantised on them."""
        if not steps or not self._gpu.memory_bytes:
            return
        plan, all_gpus = self.plan, sum(gpu.total_mib for gpu in self.machine.gpus) * MIB
        self._check_calibration(steps)
        if self._skip_plan:
            return
        if "convert" in steps and plan.quantize_gpu_bytes > all_gpus:
            raise BuildFailed(f"{quantise_refusal(plan, all_gpus)} (--skip-plan tries it anyway)")
        if "build" in steps and not plan.fits:
            raise BuildFailed(f"{refusal(plan)}\n--skip-plan builds it anyway.")
        for step in steps:
            if (need := self._cost(step).host_bytes) > (have := host_memory_bytes()):
                _say(f"{step}: needs {need / GB:.0f} GB of host memory by the plan, this machine has {have / GB:.0f}")

    def _check_calibration(self, steps: Sequence[str]) -> None:
        calibration = self.tools.calibration
        if "convert" in steps and self.spec.variant != "bf16":
            check_calibration(calibration)
            if Path(calibration).is_absolute() and not Path(calibration).is_dir():
                raise BuildFailed(f"calibration: {calibration} is not a folder")

    # --- steps ---------------------------------------------------------------------------

    def download(self) -> None:
        """Download the weights, and copy the tokenizer."""
        if self.source.files is None:
            self._make(self.model, lambda result: weights.download(self.source, result))
        self._make(self.tokenizer, lambda result: weights.copy_tokenizer(self.weights, result))

    def convert(self) -> None:
        """Make the checkpoint, quantised if the variant is."""
        self._make(self.checkpoint, self._convert)

    def build(self) -> None:
        """Build the engine with its manifest."""
        self._make(self.engine, self._build)

    def render(self) -> None:
        """Write Triton's config of the engine."""
        text = render_config(
            self.spec, engine_parameters(self.spec, self.engine_path), manifest.summary(manifest.read(self.work / "engine"))
        )
        folder = self.repository / MODEL
        (folder / "1").mkdir(parents=True, exist_ok=True)  # Triton requires a version folder, here empty
        scratch = folder / ".config.pbtxt.new"
        scratch.write_text(text)
        scratch.replace(folder / "config.pbtxt")
        _say(f"render: {folder / 'config.pbtxt'}")

    def verify(self) -> None:
        """Check the result as far as possible without a server. Raises BuildFailed with every problem."""
        config = self.repository / MODEL / "config.pbtxt"
        found = list(problems(self.spec, self.work / "engine", self.work / "tokenizer", config, self.engine_path))
        if found:
            raise BuildFailed("\n  ".join(["stage verify:", *found]))
        record = manifest.read(self.work / "engine").training
        _say(f"verify: {self.work / 'engine'} is the requested engine, and Triton's config fits it; training {record or 'not recorded'}")

    # --- results of the steps --------------------------------------------------------------------

    @cached_property
    def source(self) -> weights.Source:
        """The files of the model, at one commit."""
        return weights.find_source(self.spec, self.work)

    @property
    def weights(self) -> Path:
        """The folder that has or will have the model's files."""
        return Path(self.spec.model).resolve() if weights.is_folder(self.spec.model) else self.work / "model"

    @cached_property
    def model(self) -> Stage:
        return Stage(name="download", folder=self.work / "model", inputs=self.source.inputs, resumable=True)

    @cached_property
    def tokenizer(self) -> Stage:
        return Stage(name="tokenizer", folder=self.work / "tokenizer", inputs=self.source.inputs)

    @cached_property
    def checkpoint(self) -> Stage:
        spec = self.spec
        inputs = {"source": self.source.inputs, "variant": spec.variant, "tp": spec.tp, "tensorrt_llm": TENSORRT_LLM_VERSION}
        if spec.variant != "bf16":
            inputs["calibration"] = self.tools.calibration
        return Stage(name="convert", folder=self.work / "checkpoint", inputs=inputs)

    @cached_property
    def engine(self) -> Stage:
        limits = ("max_seq_len", "max_num_tokens", "max_batch_size", "tokens_per_block")
        inputs = {name: getattr(self.spec, name) for name in limits}
        inputs |= {"checkpoint": self.checkpoint.digest, "gpus": sorted({gpu.name for gpu in self.machine.gpus})}
        return Stage(name="build", folder=self.work / "engine", inputs=inputs)

    @cached_property
    def machine(self) -> Machine:
        """Machine that builds the engine, and for which it is built."""
        return inspect_machine()

    # --- helpers ---------------------------------------------------------------------------

    def _is_done(self, stage: Stage) -> bool:
        return stage.stamp() is not None

    def _make(self, stage: Stage, make: Callable[[Result], None]) -> None:
        if self._is_done(stage):
            return _say(f"{stage.name}: already done, {stage.folder}")
        started = time.monotonic()
        with stage.making() as result:
            make(result)
        return _say(f"{stage.name}: {duration(time.monotonic() - started)}, {stage.folder}")

    def _convert(self, result: Result) -> None:
        self._needs(self.tokenizer, "download")
        if self.source.files is None:
            self._needs(self.model, "download")
        check_weights(self.weights)  # reads all weights, which the conversion does anyway
        command = convert_command(self.spec, self.tools, self.weights, result.folder)
        self._use(command, "convert")
        expect(result.folder, checkpoint_files(self.spec.tp), "convert")

    def _build(self, result: Result) -> None:
        self._needs(self.tokenizer, "download")  # the manifest, written after minutes of building, needs it
        self._needs(self.checkpoint, "convert")
        self._use(self._build_command(result.folder), "build")
        expect(result.folder, engine_files(self.spec.tp), "build")
        _say("build: reading the engine, for its manifest")
        pinned = replace(self.spec, revision=self.source.commit)
        manifest.write(manifest.describe(pinned, result.folder, self.work / "tokenizer", self.machine), result.folder)

    def _build_command(self, out: Path) -> list[str]:
        return build_command(self.spec, self.tools, self.work / "checkpoint", out, self.work / "logs" / "model.cache")

    def _needs(self, stage: Stage, step: str) -> None:
        if not self._is_done(stage):
            raise BuildFailed(f"{stage.folder} does not exist, or was made from other inputs: run {step} first, or all")

    def _use(self, command: Sequence[str], step: str) -> None:
        cost = self._cost(step)
        weights.check_disk(step, self.work, cost.disk_bytes)
        Run(stage=step, command=command, log=self.work / "logs" / f"{step}.log", estimate_s=cost.seconds)()

    def _cost(self, step: str) -> planner.StageCost:
        names = (step, "quantise") if step == "convert" else (step,)
        return next(stage for stage in self.plan.stages if stage.name in names)

    @cached_property
    def plan(self) -> planner.EnginePlan:
        """The engine's plan for this machine's GPUs. Raises ConfigError for GPUs that cannot run it."""
        shape, stored_bytes = self._model()
        return planner.plan_engine(self.spec, shape, self._gpu, stored_bytes)

    def _model(self) -> tuple[ModelShape, int]:
        if self._is_done(self.tokenizer):
            folder = self.work / "tokenizer"
            return ModelShape.read(folder), ModelShape.stored_bytes(folder)
        return weights.read_model(self.source)

    @property
    def _gpu(self) -> Gpu:
        gpus = self.machine.gpus
        return Gpu(name=gpus[0].name, memory_bytes=gpus[0].total_mib * MIB, sm=float(gpus[0].sm)) if gpus else NO_GPU


def checkpoint_files(tp: int) -> tuple[str, ...]:
    """Return the file names of a TensorRT-LLM checkpoint."""
    return ("config.json", *(f"rank{rank}.safetensors" for rank in range(tp)))


def engine_files(tp: int) -> tuple[str, ...]:
    """Return the file names of a TensorRT-LLM engine."""
    return ("config.json", *(f"rank{rank}.engine" for rank in range(tp)))


def expect(folder: Path, names: Sequence[str], step: str) -> None:
    """Raise BuildFailed if a tool ended without error and left files missing or empty."""
    missing = [name for name in names if not (folder / name).is_file() or not (folder / name).stat().st_size]
    if missing:
        raise BuildFailed(f"stage {step}: the tool ended without error and left no {', '.join(missing)}; see logs/{step}.log")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
