"""Feed-forward style networks with pretrained weights."""

from __future__ import annotations

from pathlib import Path
from typing import final

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from linearizer_core.errors import DataError


@final
class FastStyleNetwork(nn.Module):
    r"""The image transformation network of Johnson, Alahi and Fei-Fei (arXiv 1603.08155) with instance normalisation: one network is one style.

    Convolutions 9x9 to 32 channels, 3x3 with stride 2 to 64 and to 128; five residual blocks of two 3x3 convolutions; nearest upsampling by 2 and 3x3
    convolutions to 64 and to 32; 9x9 to 3. All are padded by reflection; each but the last is followed by an instance normalisation with scale and shift, and a
    ReLU (not after the second one of a residual block). Pixels run from 0 to 255 inside; images in [0, 1] go in and come out.

    Weights are those of the networks that are commonly published, under these names: ``conv1.conv2d``, ``in1``, to ``conv3``, ``in3``; ``res1.conv1.conv2d``,
    ``res1.in1``, ``res1.conv2.conv2d``, ``res1.in2``, to ``res5``; ``deconv1.conv2d``, ``in4``, ``deconv2.conv2d``, ``in5``, ``deconv3.conv2d``; each with
    ``weight`` and ``bias``.

    Example:
        >>> import torch
        >>> FastStyleNetwork()(torch.rand(1, 3, 16, 24)).shape
        torch.Size([1, 3, 16, 24])
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.in1 = _Convolution(3, 32, 9), _normalisation(32)
        self.conv2, self.in2 = _Convolution(32, 64, 3, stride=2), _normalisation(64)
        self.conv3, self.in3 = _Convolution(64, 128, 3, stride=2), _normalisation(128)
        self.res1, self.res2, self.res3, self.res4, self.res5 = (_Residual(128) for _ in range(5))
        self.deconv1, self.in4 = _Convolution(128, 64, 3, upsample=2), _normalisation(64)
        self.deconv2, self.in5 = _Convolution(64, 32, 3, upsample=2), _normalisation(32)
        self.deconv3 = _Convolution(32, 3, 9)

    @classmethod
    def from_file(cls, path: Path) -> FastStyleNetwork:
        """The network with the weights of a safetensors file, ready to be applied.

        Raises:
            DataError: when the file cannot be read, or lacks a tensor, has one too many, or one of another shape.
        """
        try:
            weights = load_file(str(path))
        except (OSError, SafetensorError) as error:
            raise DataError(f"{path} cannot be read as safetensors ({error}); convert the weights with safetensors.torch.save_file") from error
        network = cls()
        wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        if strange := sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)):
            name = strange[0]
            raise DataError(
                f"{path}: {len(strange)} tensors do not fit a fast style network, the first is {name!r}: {found.get(name, 'missing')}, expected "
                f"{wanted.get(name, 'no such tensor')}; rename or leave out tensors when converting (statistics of normalisations are not used)"
            )
        network.load_state_dict(weights)
        return network.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(N, 3, H, W)`` in [0, 1], stylised and clipped to [0, 1]. Sides that 4 does not divide are padded by reflection and cropped again."""
        height, width = images.shape[2:]
        h = functional.pad(255 * images, (0, -width % 4, 0, -height % 4), mode="reflect")
        for convolution, normalisation in ((self.conv1, self.in1), (self.conv2, self.in2), (self.conv3, self.in3)):
            h = functional.relu(normalisation(convolution(h)))
        for block in (self.res1, self.res2, self.res3, self.res4, self.res5):
            h = block(h)
        for convolution, normalisation in ((self.deconv1, self.in4), (self.deconv2, self.in5)):
            h = functional.relu(normalisation(convolution(h)))
        painted: Tensor = self.deconv3(h)
        return (painted[:, :, :height, :width] / 255).clamp(0, 1)


class _Convolution(nn.Module):
    def __init__(self, before: int, after: int, kernel: int, *, stride: int = 1, upsample: int = 1) -> None:
        super().__init__()
        self.margin, self.upsample = kernel // 2, upsample
        self.conv2d = nn.Conv2d(before, after, kernel, stride)

    def forward(self, h: Tensor) -> Tensor:
        h = functional.interpolate(h, scale_factor=self.upsample, mode="nearest") if self.upsample > 1 else h
        result: Tensor = self.conv2d(functional.pad(h, [self.margin] * 4, mode="reflect"))
        return result


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.in1 = _Convolution(channels, channels, 3), _normalisation(channels)
        self.conv2, self.in2 = _Convolution(channels, channels, 3), _normalisation(channels)

    def forward(self, h: Tensor) -> Tensor:
        result: Tensor = h + self.in2(self.conv2(functional.relu(self.in1(self.conv1(h)))))
        return result


def _normalisation(channels: int) -> nn.InstanceNorm2d:
    return nn.InstanceNorm2d(channels, affine=True)
