"""What is compared, by name."""

from __future__ import annotations

from benchmarks.evidence.recipes import OUR_OPTIMISER, Recipe, likelihood, matching, ours, published, published_design, unlabelled

RECIPES: dict[str, Recipe] = {
    "ours": ours("recommended, labels"),
    "ours-batch": ours("batches of 64", "task.latent_prior.reconstruction.batch_size=64"),
    "ours-rank": ours("24 coordinates kept", "core.rank=24"),
    "ours-prior": ours("0.4 of the budget for the prior", prior=0.4),
    "unlabelled": unlabelled("recommended, no labels", 32),
    "unlabelled-clusters": unlabelled("64 clusters", 64),
    "unlabelled-more-clusters": unlabelled("128 clusters", 128),
    "unlabelled-prior": unlabelled("64 clusters, 0.4 of the budget for the prior", 64, prior=0.4),
    "published": published_design("as published"),
    "published-optimiser": published_design(
        "published design, our optimiser at 3e-4",
        *OUR_OPTIMISER,
        'task.published.training.optimizer={name="adamw", lr=3e-4, betas=[0.9, 0.99], weight_decay=1e-4}',
    ),
    "published-couplings": published("published objective, our couplings and optimiser", *OUR_OPTIMISER),
    "published-perceptual": published("the same with a perceptual distance", *OUR_OPTIMISER, perceptual=True),
    "likelihood": likelihood("likelihood", 1e-3),
    "matching": matching("flow-matching U-Net", 1e-3),
}
"""By name."""
