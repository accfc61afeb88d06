"""The detector's networks: whether an image shows a lesion, and where. Both are MONAI's, in three sizes.

Group normalisation throughout (Wu and He, ECCV 2018, arXiv:1803.08494): batch statistics would mix synthetic and real
images of a batch, and an arm could gain or lose by that alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from monai.networks.nets import ResNet, UNet  # here, so that workers inherit it from the process that they fork from
from torch import Tensor, nn
from torch.nn import functional

from scansynth.learning.device import Device

_GROUPS = ("group", {"num_groups": 8})
_FINE = 128  # images up to this side get a map of half of it, larger ones of a quarter
_RARE = -4.0  # logit at which every pixel starts: lesions are rare, and the first steps should not unlearn that


@dataclass(frozen=True)
class NetworkSize:
    """How large a detector is.

    Attributes:
        blocks: Residual blocks at each of four resolutions.
        planes: Channels at each of them.
        side: Largest side at which images are looked at, pixels; larger ones are averaged down by a whole number.
    """

    blocks: tuple[int, int, int, int]
    planes: tuple[int, int, int, int]
    side: int


SIZES: Mapping[str, NetworkSize] = {
    "small": NetworkSize((1, 1, 1, 1), (16, 32, 64, 128), 128),
    "medium": NetworkSize((2, 2, 2, 2), (32, 64, 128, 256), 256),
    "large": NetworkSize((3, 4, 6, 3), (64, 128, 256, 512), 512),
}
"""Small is for two cores; the others are for a GPU."""


def resolve(name: str, device: Device) -> str:
    """The size that `auto` stands for on a device; every other name as it is."""
    if name != "auto":
        return name
    return "small" if device.kind == "cpu" else "medium"


def shrink_factor(side: int, size: NetworkSize, lesions: bool = False) -> int:
    """By how much images of a side are averaged down before a network sees them; places need twice the detail."""
    return max(1, -(-side // (2 * size.side if lesions else size.side)))


def map_factor(side: int, size: NetworkSize) -> int:
    """How many pixels of an image of a side make one of a lesion detector's map, each way."""
    shrink = shrink_factor(side, size, lesions=True)
    return shrink * (4 if side // shrink > _FINE else 2)


class ImageDetector(nn.Module):
    """Does the image show a lesion? A residual network (He et al., CVPR 2016) with one logit."""

    def __init__(self, size: NetworkSize, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.body = ResNet(
            "basic",
            list(size.blocks),
            list(size.planes),
            spatial_dims=2,
            n_input_channels=1,
            conv1_t_size=5,
            conv1_t_stride=2,
            no_max_pool=True,
            num_classes=1,
            act="relu",
            norm=_GROUPS,
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits of images.

        Args:
            images: (n, 1, side, side) in [-1, 1].

        Returns:
            Logits (n,), and none for the map that this network does not draw.
        """
        logits: Tensor = self.body(_averaged(images, self.factor))
        return logits[:, 0], None


class LesionDetector(nn.Module):
    """Where are the lesions? A U-Net (Ronneberger et al., MICCAI 2015) draws a map; its highest point scores the image.

    A learned convolution brings the image to the map's side first: the U-Net alone would take four to sixteen times
    as long, and a map of half or a quarter of the side places a lesion well enough.
    """

    def __init__(self, size: NetworkSize, side: int) -> None:
        super().__init__()
        self.shrink, self.factor = shrink_factor(side, size, lesions=True), map_factor(side, size)
        planes = size.planes[0]
        self.stem = nn.Sequential(
            nn.Conv2d(1, planes, 7, stride=self.factor // self.shrink, padding=3, bias=False),
            nn.GroupNorm(_GROUPS[1]["num_groups"], planes),
            nn.ReLU(),
        )
        self.body = UNet(
            spatial_dims=2,
            in_channels=planes,
            out_channels=planes,
            channels=size.planes,
            strides=(2, 2, 2),
            num_res_units=size.blocks[0],
            norm=_GROUPS,
            act="relu",
        )
        self.head = nn.Conv2d(planes, 1, 1)
        nn.init.constant_(self.head.bias, _RARE)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits of images (n,), and of places (n, side // factor, side // factor)."""
        rows, columns = (length // self.factor for length in images.shape[2:])
        drawn = self.stem(_averaged(images, self.shrink))[:, :, :rows, :columns]
        # three halvings: the sides must be divisible by 8, and padding repeats the edge
        drawn = functional.pad(drawn, (0, -columns % 8, 0, -rows % 8), mode="replicate")
        places = self.head(self.body(drawn))[:, 0, :rows, :columns]
        return places.flatten(1).amax(dim=1), places


def _averaged(images: Tensor, factor: int) -> Tensor:
    return images if factor == 1 else functional.avg_pool2d(images, factor)


def build(size: str, side: int, lesions: bool) -> ImageDetector | LesionDetector:
    """A new network; its weights are drawn from torch's generator.

    Args:
        size: A name of `SIZES`.
        side: The longer side of the images, pixels.
        lesions: Whether it finds lesions, not only images with one.
    """
    if lesions:
        return LesionDetector(SIZES[size], side)
    return ImageDetector(SIZES[size], shrink_factor(side, SIZES[size]))


def place(network: nn.Module, device: Device) -> None:
    """Brings a network to a device, its weights in the layout in which the device convolves fastest."""
    network.to(device.torch_device)
    network.to(memory_format=device.memory_format)  # type: ignore[call-overload]
