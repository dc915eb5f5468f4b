"""The jobs of ``make gpu``, most valuable first.

Seconds are those beside three other jobs, evaluation and the form of the registry included. Those of flows on MNIST, CIFAR-10 and emoji follow from runs on an
NVIDIA H200 (60 ms a step of reconstruction on MNIST, 21 ms of a prior; the headers of the configurations have the others). Those marked "guessed" have never
run on a GPU; their steps are cut so that each should fit into ten minutes, and their checkpoints lie closer, should it not.

bf16 is on in the configurations. Compilation is off everywhere: on a GPU it has not been measured, its first steps take minutes, and the job
``bench_options`` measures it. Convolutions are channels-last where a configuration says so. Reversible backpropagation is off: it trades time for memory,
and no job comes near the memory of one GPU.

Two jobs fit another prior to a bijection of the registry, by its name: after a new ``flow.mnist`` or ``flow.cifar10`` is there, delete their folders in
``runs/gpu`` and in ``runs/gpu/models``, and run them again. Other seeds of the one on MNIST are other seeds of its prior alone.
"""

from __future__ import annotations

from dataclasses import replace

from registry.gpu.jobs import WEIGHTS, Job, Measurement, Training

_LABELS = Training(
    name="flow_mnist_small",
    config="flow_mnist_small.toml",
    data="mnist",
    becomes="flow.mnist",
    seconds=570,
)
_CLUSTERS = Training(
    name="flow_mnist_unlabelled",
    config="flow_mnist_unlabelled.toml",
    data="mnist",
    becomes="flow.mnist-unlabelled",
    seconds=330,
)
_CIFAR10 = Training(name="flow_cifar10", config="flow_cifar10.toml", data="cifar10", features=True, becomes="flow.cifar10", seconds=560)
_SMALL_PERCEPTUAL = 'task.perceptual={model="tf_efficientnet_lite0", weights="efficientnet_lite0.safetensors", layers=3, size=256}'


def _bench(name: str, seconds: float, *options: str) -> Measurement:
    command = ("-m", f"benchmarks.{name}", "--device", "{device}", "--out", "{runs}/bench", *options)
    return Measurement(name=f"bench_{name}", command=command, leaves=f"bench/{name}*.json", seconds=seconds, alone=True)


def _with_seed(job: Training, seed: int) -> Training:
    return replace(job, name=f"{job.name}_seed{seed}", overrides=(*job.overrides, f"training.seed={seed}"), becomes=None)


JOBS: tuple[Job, ...] = (
    _LABELS,
    _CLUSTERS,
    _CIFAR10,
    Training(
        name="flow_cifar10_unconditional",
        config="flow_cifar10_unconditional.toml",
        data="cifar10",
        features=True,
        becomes="flow.cifar10-unconditional",
        seconds=250,
    ),
    Training(name="flow_emoji64", config="flow_emoji64.toml", data="emoji64", features=True, becomes="flow.emoji64", seconds=400),
    # Guessed: 120 ms a step. Dense couplings of 12,288 coordinates would make 80 % of the weights, and a model larger than the registry takes.
    Training(
        name="ign_emoji64",
        config="ign_emoji64.toml",
        data="emoji64",
        overrides=("task.projection.steps=3000", "backbone.dense.couplings=0", "training.checkpoint_every=250"),
        becomes="ign.emoji64",
        seconds=500,
    ),
    # Guessed: 150 ms a step.
    Training(
        name="style_full",
        config="style_full.toml",
        data="style",
        features=True,
        overrides=(_SMALL_PERCEPTUAL, "task.training.steps=2500", "task.training.warmup_steps=200", "training.checkpoint_every=250"),
        becomes="style.amber-full",
        seconds=480,
    ),
    # Guessed: 45 ms a step.
    Training(
        name="dynamics_moving_mnist",
        config="dynamics_moving_mnist.toml",
        data="mnist",
        key="data.source.root",
        overrides=("task.training.steps=8000",),
        becomes="dynamics.moving-mnist",
        seconds=420,
    ),
    Measurement(
        name="likelihood_cifar10",
        command=(
            *("-m", "benchmarks.likelihood", "{root}/configs/flow_cifar10.toml", "{data}/cifar10", "--weights", f"{{data}}/{WEIGHTS}", "--seconds", "400"),
            *("--beside", "{runs}/flow_cifar10", "--out", "{runs}/likelihood/cifar10"),
        ),
        leaves="likelihood/cifar10.json",
        reads=("cifar10", WEIGHTS),
        after=(_CIFAR10,),
        seconds=460,
    ),
    # Guessed, all four.
    _bench("collapse", 90, "--budget", "10", "--repeats", "3"),
    _bench("sampling", 60, "--budget", "20"),
    _bench("training", 60, "--repeats", "3"),
    _bench("options", 120, "--repeats", "5"),
    *(_with_seed(job, seed) for seed in (1, 2) for job in (_LABELS, _CLUSTERS)),
)
