"""What this plugin provides. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from linearizer_core.hookspecs import hookimpl
from linearizer_core.specs import OperatorSpec


@hookimpl
def linearizer_operators() -> Sequence[OperatorSpec]:
    """The cores of this plugin."""
    return [
        OperatorSpec(
            "convolution",
            target="linearizer_operators.convolution:ConvolutionCore",
            config="linearizer_operators.config:ConvolutionConfig",
            summary="Circular convolution of an image-shaped latent, full, depthwise or of low rank, one for each category; for pictures of any size",
            reference="arXiv 2510.08570",
        ),
        OperatorSpec(
            "gaussian",
            target="linearizer_operators.gaussian:GaussianCore",
            config="linearizer_operators.config:GaussianConfig",
            summary="Optimal end-point predictor for Gaussian latents, in closed form, with an exact flow up to t = 1",
            reference="arXiv 2510.08570",
        ),
        OperatorSpec(
            "generator",
            target="linearizer_operators.generators.choose:generator",
            config="linearizer_operators.config:GeneratorConfig",
            summary="Generator of a flow in continuous time, z(t) = exp(tA) z: decaying rotations, real rates, low rank or dense, stable if asked for",
            reference="arXiv 2510.08570",
        ),
        OperatorSpec(
            "identity_plus_low_rank",
            target="linearizer_operators.identity_plus_low_rank:IdentityPlusLowRankCore",
            config="linearizer_operators.config:IdentityPlusLowRankConfig",
            summary="I + U V^T, one for each category, for one size of latent",
        ),
        OperatorSpec(
            "low_rank",
            target="linearizer_operators.low_rank:LowRankCore",
            config="linearizer_operators.config:LowRankConfig",
            summary="A_t = U(t) V(t)^T with both factors from a network of t: the published form",
            reference="arXiv 2510.08570",
        ),
        OperatorSpec(
            "projector",
            target="linearizer_operators.projectors:projector",
            config="linearizer_operators.config:ProjectorConfig",
            summary="Projector onto coordinates, fixed or learned; in a rotated space; or along learned directions",
            reference="arXiv 2510.08570",
        ),
        OperatorSpec(
            "shared_subspace",
            target="linearizer_operators.shared_subspace:SharedSubspaceCore",
            config="linearizer_operators.config:SharedSubspaceConfig",
            summary="A_t = U C(t) V^T on one learned subspace, regular up to t = 1 and collapsed in R dimensions",
            reference="arXiv 2510.08570",
        ),
    ]
