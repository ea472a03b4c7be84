from __future__ import annotations

import pytest
import torch

from mien.train.loop.augment import augment, mix, resize_fraction, shrink
from mien.train.networks.align import sampling_grid
from mien.train.recipe.settings import AugmentConfig, FitConfig


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def pixels() -> torch.Tensor:
    # Smooth, unlike its mirror image, and away from 0 and 255.
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    image = 60 + 2 * x + 40 * torch.sin(y / 6)
    return image.clamp(0, 255).to(torch.uint8).expand(8, 1, 48, 48).clone()


def test_nothing_asked_changes_nothing(pixels: torch.Tensor) -> None:
    assert torch.equal(augment(pixels, AugmentConfig(), generator()), pixels.float())


def test_flip_mirrors_exactly(pixels: torch.Tensor) -> None:
    changed = augment(pixels, AugmentConfig(flip=1.0), generator())
    torch.testing.assert_close(changed, pixels.float().flip(3), atol=1e-3, rtol=0)


def test_flip_mirrors_about_half(pixels: torch.Tensor) -> None:
    many = pixels[:1].expand(2000, 1, 48, 48)
    changed = augment(many, AugmentConfig(flip=0.5), generator())
    mirrored = (changed - many.float().flip(3)).abs().amax(dim=(1, 2, 3)) < 1
    assert 0.45 < mirrored.float().mean().item() < 0.55


def test_rotation_turns_around_the_centre() -> None:
    image = torch.zeros(400, 1, 49, 49)
    image[:, :, 24, 24] = 255.0  # the centre stays
    image[:, :, 24, 40] = 255.0
    changed = augment(image, AugmentConfig(rotation=45.0), generator())
    assert changed[:, 0, 24, 24].min() > 200
    assert changed[:, 0, 24, 40].min() < 50


def test_blur_keeps_the_mean_and_lowers_the_contrast(pixels: torch.Tensor) -> None:
    noisy = (torch.rand(8, 1, 48, 48, generator=generator(1)) * 255).to(torch.uint8)
    changed = augment(noisy, AugmentConfig(blur=1.0, blur_sigma=2.0), generator())
    assert (changed.std(dim=(2, 3)) < noisy.float().std(dim=(2, 3))).all()
    inner = changed[..., 8:-8, 8:-8].mean()
    assert abs(inner - noisy[..., 8:-8, 8:-8].float().mean()) < 3


def test_no_blur_drawn_leaves_the_image(pixels: torch.Tensor) -> None:
    changed = augment(pixels, AugmentConfig(blur=1e-9, blur_sigma=2.0), generator())
    torch.testing.assert_close(changed, pixels.float())


def test_blur_is_a_gaussian_of_some_images_and_darkens_no_edge() -> None:
    dot = torch.zeros(400, 1, 49, 49)
    dot[:, :, 24, 24] = 255.0
    changed = augment(dot, AugmentConfig(blur=0.25, blur_sigma=1.2), generator())
    blurred = changed[changed[:, 0, 24, 24] < 250][:, 0]
    assert 60 < len(blurred) < 140
    across, down = blurred[:, 24, 25] / blurred[:, 24, 24], blurred[:, 25, 24] / blurred[:, 24, 24]
    torch.testing.assert_close(across, down)
    # A Gaussian's values at 1 and 2 pixels: exp(-1 / 2s^2), and its fourth power.
    torch.testing.assert_close(blurred[:, 24, 26] / blurred[:, 24, 24], across**4)
    white = torch.full((8, 1, 48, 48), 255.0)
    torch.testing.assert_close(augment(white, AugmentConfig(blur=1.0), generator()), white)


def test_images_are_moved_as_torch_s_own_grid_moves_them() -> None:
    rows = torch.randn(16, 2, 3, generator=generator())
    theirs = torch.nn.functional.affine_grid(rows, [16, 1, 48, 48], align_corners=False)
    torch.testing.assert_close(sampling_grid(rows, 48), theirs, atol=1e-5, rtol=0)


def test_light_and_noise_stay_in_range(pixels: torch.Tensor) -> None:
    config = AugmentConfig(brightness=0.9, contrast=0.9, noise=0.5)
    changed = augment(pixels, config, generator())
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert not torch.equal(changed, pixels.float())


def test_erase_fills_a_rectangle_with_the_mean(pixels: torch.Tensor) -> None:
    changed = augment(pixels, AugmentConfig(erase=1.0, erase_size=0.5), generator())
    touched = changed != pixels.float()
    fraction = touched.float().mean(dim=(1, 2, 3))
    assert (fraction <= 0.26).all()
    assert fraction.max() > 0


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_the_images_given_stay_as_they_are(pixels: torch.Tensor, kind: torch.dtype) -> None:
    given = pixels.to(kind)
    everything = AugmentConfig(
        blur=1.0, brightness=0.2, contrast=0.2, gamma=0.3, low_res=1.0, noise=0.1, erase=1.0
    )
    assert not torch.equal(augment(given, everything, generator()), pixels.float())
    assert torch.equal(given, pixels.to(kind))


def test_same_generator_same_images(pixels: torch.Tensor) -> None:
    config = AugmentConfig(0.5, 10, 0.1, 0.1, 0.5, 1.0, 0.1, 0.1, 0.05, 0.5, 0.3)
    first, second = generator(3), generator(3)
    assert torch.equal(augment(pixels, config, first), augment(pixels, config, second))
    # The generator moved on, so that the next batch is changed otherwise.
    assert torch.equal(first.get_state(), second.get_state())
    assert not torch.equal(augment(pixels, config, first), augment(pixels, config, generator(3)))


def test_gamma_keeps_darkest_and_lightest_and_the_order(pixels: torch.Tensor) -> None:
    changed = augment(pixels, AugmentConfig(gamma=1.0), generator())
    before = pixels.float()
    torch.testing.assert_close(changed.amax(dim=(2, 3)), before.amax(dim=(2, 3)), atol=0.01, rtol=0)
    torch.testing.assert_close(changed.amin(dim=(2, 3)), before.amin(dim=(2, 3)), atol=0.01, rtol=0)
    row, was = changed[0, 0, 10], before[0, 0, 10]
    assert (row[1:] - row[:-1])[was[1:] > was[:-1]].min() >= 0
    assert (changed - before).abs().max() > 5
    blank = torch.full((2, 1, 48, 48), 90.0)
    torch.testing.assert_close(augment(blank, AugmentConfig(gamma=1.0), generator()), blank)


def test_low_resolution_takes_detail_from_some(pixels: torch.Tensor) -> None:
    noisy = torch.rand(200, 1, 48, 48, generator=generator(1)) * 255
    config = AugmentConfig(low_res=0.5, low_res_size=0.25)
    changed = augment(noisy, config, generator())
    left = (changed == noisy).all(dim=3).all(dim=2)[:, 0]
    assert 60 < left.sum() < 140
    assert changed[~left].std() < 0.8 * noisy.std()
    torch.testing.assert_close(changed.mean(), noisy.mean(), atol=1, rtol=0)
    nothing = augment(noisy, AugmentConfig(low_res=1e-9), generator())
    assert torch.equal(nothing, noisy)


def targets(n: int) -> torch.Tensor:
    return torch.eye(n)


@pytest.mark.parametrize("config", [AugmentConfig(mixup=0.4), AugmentConfig(cutmix=1.0)])
def test_mixed_targets_are_the_fractions_of_the_images(config: AugmentConfig) -> None:
    # Image i is flat with level i, so that its level and its target give the same mixture.
    n = 64
    levels = torch.arange(float(n))
    images = levels[:, None, None, None].expand(n, 1, 48, 48)
    mixed, fractions = mix(images, targets(n), config, generator())
    torch.testing.assert_close(fractions.sum(dim=1), torch.ones(n))
    torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), fractions @ levels, atol=1e-3, rtol=1e-4)
    assert (fractions.max(dim=1).values < 0.999).sum() > n // 4
    again, _ = mix(images, targets(n), config, generator())
    assert torch.equal(mixed, again)


def test_cutmix_pastes_and_mixup_blends() -> None:
    levels = torch.arange(8.0)[:, None, None, None].expand(8, 1, 48, 48)
    pasted, _ = mix(levels, targets(8), AugmentConfig(cutmix=1.0), generator())
    assert torch.equal(pasted, pasted.round())
    blended, _ = mix(levels, targets(8), AugmentConfig(mixup=1.0), generator())
    assert (blended.flatten(1).std(dim=1) < 1e-5).all()
    assert (blended != blended.round()).any()


def test_nothing_mixed_takes_no_randomness() -> None:
    same, fractions = mix(
        torch.ones(4, 1, 8, 8), targets(4), AugmentConfig(), chance := generator()
    )
    assert torch.equal(same, torch.ones(4, 1, 8, 8)) and torch.equal(fractions, targets(4))
    assert torch.equal(chance.get_state(), generator().get_state())


def test_shrinking_gives_sides_of_whole_eights(pixels: torch.Tensor) -> None:
    assert shrink(pixels.float(), 0.7).shape == (8, 1, 32, 32)
    assert shrink(pixels.float(), 0.01).shape == (8, 1, 8, 8)
    assert torch.equal(shrink(pixels.float(), 1.0), pixels.float())


def test_images_grow_to_whole_ones() -> None:
    config = FitConfig(epochs=10, initial_size=0.5, full_size_at=0.4)
    fractions = [resize_fraction(config, epoch) for epoch in range(10)]
    assert fractions[:5] == pytest.approx([0.5, 0.625, 0.75, 0.875, 1.0])
    assert set(fractions[4:]) == {1.0}
    assert resize_fraction(FitConfig(epochs=10), 0) == 1.0
