"""What is compared, by name."""

from __future__ import annotations

from benchmarks.evidence.recipes import OUR_OPTIMISER, Recipe, likelihood, matching, ours, published, published_design, unlabelled


def _levels(first: tuple[int, int], second: tuple[int, int]) -> str:
    """Two levels, each of so many couplings of some width."""
    levels = [
        f"{{couplings={couplings}, width={width}{mixing}}}" for (couplings, width), mixing in zip((first, second), ("", ", token_mixing=true"), strict=True)
    ]
    return f"[{', '.join(levels)}]"


CANDIDATES: dict[str, Recipe] = {
    "ours": ours("labels: batches of 128"),
    "ours-batch": ours("labels: batches of 64", "task.latent_prior.reconstruction.batch_size=64"),
    "ours-rank": ours("labels: 24 coordinates kept", "core.rank=24"),
    "ours-prior": ours("labels: 0.4 of the budget for the prior", prior=0.4),
    "unlabelled": unlabelled("no labels: 32 clusters", 32),
    "unlabelled-clusters": unlabelled("no labels: 64 clusters", 64),
    "unlabelled-more-clusters": unlabelled("no labels: 128 clusters", 128),
    "unlabelled-batch": unlabelled("no labels: 64 clusters, batches of 64", 64, "task.latent_prior.reconstruction.batch_size=64"),
    "unlabelled-prior": unlabelled("no labels: 64 clusters, 0.4 of the budget for the prior", 64, prior=0.4),
    "published": published_design("published: as described"),
    "published-optimiser": published_design(
        "published: as described, our optimiser at 3e-4",
        *OUR_OPTIMISER,
        'task.published.training.optimizer={name="adamw", lr=3e-4, betas=[0.9, 0.99], weight_decay=1e-4}',
    ),
    "published-couplings": published("published: our couplings and optimiser", *OUR_OPTIMISER),
    "published-perceptual": published("published: our couplings and optimiser, a perceptual distance", *OUR_OPTIMISER, perceptual=True),
    "published-batch": published("published: our couplings and optimiser, batches of 64", *OUR_OPTIMISER, "task.published.training.batch_size=64"),
    "published-rank": published("published: our couplings and optimiser, core of rank 16", *OUR_OPTIMISER, "core.rank=16"),
    "published-rank-batch": published(
        "published: our couplings and optimiser, core of rank 16, batches of 64",
        *OUR_OPTIMISER,
        "core.rank=16",
        "task.published.training.batch_size=64",
        costs="published-batch",
    ),
    "likelihood": likelihood("likelihood", 1e-3),
    "matching": matching("flow-matching U-Net", 1e-3, batch_size=32),
}
"""What the trials choose from, and what the chosen ones are compared with."""

_PIXELS = "normalize={shift=-0.13, scale=2.0}"

ABLATIONS: dict[str, dict[str, Recipe]] = {
    "backbone": {
        "backbone-additive": ours("additive couplings", 'backbone.coupling="additive"'),
        "backbone-glow": ours("Glow", f'backbone={{name="glow", steps=4, width=40, squeeze="haar", {_PIXELS}}}'),
        "backbone-irevnet": ours("i-RevNet", f'backbone={{name="irevnet", blocks=6, width=40, {_PIXELS}}}'),
        "backbone-transformer": ours("transformer", f'backbone={{name="transformer", couplings=4, width=64, {_PIXELS}}}'),
        "backbone-lattice": ours("lattice", f'backbone={{name="lattice", levels={_levels((2, 32), (4, 64))}, dense={{couplings=8, width=256}}}}'),
    },
    "rank": {f"rank-{rank}": ours(f"{rank} coordinates kept", f"core.rank={rank}", costs="ours") for rank in (8, 16, 64)},
    "core": {
        "published-rank": CANDIDATES["published-rank"],
        "core-shared": published("shared subspace of rank 8, integrated up to t = 1", *OUR_OPTIMISER, 'core={name="shared_subspace", rank=8}'),
        "core-mask": published("a mask: 32 coordinates, integrated up to t = 1", *OUR_OPTIMISER, 'core={name="gaussian", rank=32}'),
    },
    "loss": {
        "loss-noise": ours("no noise on kept coordinates", "task.latent_prior.reconstruction.latent_noise=0", costs="ours"),
        "loss-tail": ours("dropped coordinates not drawn to 0", "task.latent_prior.reconstruction.tail_weight=0", costs="ours"),
        "loss-covariance": ours("moments of kept coordinates free", "task.latent_prior.reconstruction.covariance_weight=0", costs="ours"),
        "loss-condition": ours(
            "a prior without labels or clusters", 'task.latent_prior.condition="none"', "task.latent_prior.prior.backbone.class_scale=false", costs="ours"
        ),
    },
    "depth": {
        "depth-half": ours("half as many couplings", f"backbone.levels={_levels((2, 32), (2, 64))}", "backbone.dense.couplings=4"),
        "depth-double": ours("twice as many couplings", f"backbone.levels={_levels((4, 32), (8, 64))}", "backbone.dense.couplings=16"),
    },
    "precision": {"precision-float32": ours("float32 instead of bfloat16 in training", precision="no")},
}
"""What is changed in the recommended recipe with labels, by what it is about; in those of the core, in the published objective on our couplings. Glow, i-RevNet
and transformer have no dense couplings, which are cheap for their size: at our size they would need minutes to encode all images once."""

SIZES: dict[str, Recipe] = {
    "size-quarter": ours("a quarter of the width", f"backbone.levels={_levels((2, 8), (4, 16))}", "backbone.dense.width=64"),
    "size-half": ours("half the width", f"backbone.levels={_levels((2, 16), (4, 32))}", "backbone.dense.width=128"),
    "size-double": ours("twice the width", f"backbone.levels={_levels((2, 64), (4, 128))}", "backbone.dense.width=512"),
}
"""The recommended recipe in other widths."""

RECIPES: dict[str, Recipe] = {**CANDIDATES, **{name: recipe for about in ABLATIONS.values() for name, recipe in about.items()}, **SIZES}
"""Everything, by name."""
