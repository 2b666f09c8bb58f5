"""What a network is before it is built: defaults, stages, and the refusal of numbers that make no DenseNet."""

import pytest

from keras_densenet import Architecture
from tests.tiny import KINDS


def plan(**options):
    return Architecture.plan(
        **{"blocks": (1, 1), "growth_rate": 4, "stem": "cifar", "input_shape": (8, 8, 3), **options}
    )


@pytest.mark.parametrize(
    ("depth", "bottleneck", "layers"), [(40, False, 12), (100, False, 32), (7, False, 1), (40, True, 6), (10, True, 1)]
)
def test_depth_becomes_three_equal_blocks(depth, bottleneck, layers):
    assert Architecture.plan(depth=depth, bottleneck=bottleneck).blocks == (layers,) * 3


@pytest.mark.parametrize(
    ("depth", "bottleneck", "form", "nearest"),
    [
        (41, False, "3n", "40 and 43"),
        (42, False, "3n", "40 and 43"),
        (4, False, "3n", "7 and 10"),
        (41, True, "6n", "40 and 46"),
        (99, True, "6n", "94 and 100"),
        (4, True, "6n", "10 and 16"),
        (1, True, "6n", "10 and 16"),
    ],
)
def test_depth_of_another_form_is_refused_with_the_nearest(depth, bottleneck, form, nearest):
    with pytest.raises(ValueError, match=rf"^depth must be {form} \+ 4.*Received: depth={depth}\..* {nearest}\.$"):
        Architecture.plan(depth=depth, bottleneck=bottleneck)


@pytest.mark.parametrize("depth", [40.0, "40", True])
def test_depth_that_is_no_whole_number_is_refused(depth):
    with pytest.raises(ValueError, match=rf"^depth must be .*Received: depth={depth!r}\.$"):
        Architecture.plan(depth=depth)


@pytest.mark.parametrize("given", [{}, {"blocks": (1, 1), "depth": 40}])
def test_blocks_or_depth_has_to_be_given_and_not_both(given):
    received = f"blocks={given.get('blocks')!r}, depth={given.get('depth')!r}".replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ValueError, match=rf"^Give either blocks or depth\. Received: {received}$"):
        Architecture.plan(**given)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"blocks": ()}, r"blocks must .* Received: blocks=\(\)"),
        ({"blocks": (1, 0)}, r"blocks must .* Received: blocks=\(1, 0\)"),
        ({"blocks": (1.5, 2)}, r"blocks must .* Received: blocks=\(1.5, 2\)"),
        ({"blocks": 4}, r"blocks must .* Received: blocks=4"),
        ({"growth_rate": 0}, r"growth_rate must be a whole number >= 1\. Received: growth_rate=0"),
        ({"growth_rate": -12}, r"growth_rate must be a whole number >= 1\. Received: growth_rate=-12"),
        ({"growth_rate": 12.0}, r"growth_rate must be a whole number >= 1\. Received: growth_rate=12.0"),
        ({"growth_rate": None}, r"growth_rate must be a whole number >= 1\. Received: growth_rate=None"),
        ({"theta": 0}, r"theta must be in \(0, 1\]\. Received: theta=0"),
        ({"theta": 1.5}, r"theta must be in \(0, 1\]\. Received: theta=1.5"),
        ({"theta": 0.1}, r"theta must leave at least one channel\. Received: theta=0.1, which keeps 0 of 8 channels"),
        ({"dropout_rate": 1}, r"dropout_rate must be in \[0, 1\)\. Received: dropout_rate=1"),
        ({"stem": "resnet"}, r"stem must be \"imagenet\", \"deep\" or \"cifar\"\. Received: stem='resnet'"),
        ({"stem_pool": "avg"}, r"stem_pool must be \"max\" or \"blur\"\. Received: stem_pool='avg'"),
        (
            {"stem": "cifar", "stem_pool": "blur"},
            r"stem_pool must be left out with stem=\"cifar\"\. Received: stem_pool='blur'",
        ),
        ({"stem_channels": 0}, r"stem_channels must be a whole number >= 1\. Received: stem_channels=0"),
        ({"classes": 0}, r"classes must be a whole number >= 1\. Received: classes=0"),
        ({"classes": 2.5}, r"classes must be a whole number >= 1\. Received: classes=2.5"),
        ({"input_shape": (8,)}, r"input_shape must be \(height, width, channels\), .*\. Received: input_shape=\(8,\)"),
        ({"input_shape": (8,) * 5}, r"input_shape must be \(height, .*\. Received: input_shape=\(8, 8, 8, 8, 8\)"),
        ({"input_shape": 8}, r"input_shape must be \(height, width, channels\), .*\. Received: input_shape=8"),
        ({"input_shape": (8, 8, None)}, r"input_shape must end in .*channels.* Received: input_shape=\(8, 8, None\)"),
        ({"input_shape": (8.0, 8, 3)}, r"input_shape must be .* Received: input_shape=\(8.0, 8, 3\)"),
    ],
)
def test_wrong_number_is_named_with_its_value_in_one_sentence(wrong, sentence):
    wrong = {"stem_channels": 4, "growth_rate": 4, **wrong}
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        plan(**wrong)


@pytest.mark.parametrize(
    ("stem", "blocks", "stride"), [("imagenet", 4, 32), ("deep", 4, 32), ("cifar", 3, 4), ("cifar", 1, 1)]
)
def test_image_smaller_than_the_total_stride_is_refused(stem, blocks, stride):
    blocks = (1,) * blocks
    assert plan(stem=stem, blocks=blocks, input_shape=(stride, stride, 3)).stride == stride
    assert plan(stem=stem, blocks=blocks, input_shape=(None, None, 3)).stride == stride
    sentence = (
        rf"^input_shape must be at least {stride}x{stride} pixels.*Received: input_shape=\(99, {stride - 1}, 3\)$"
    )
    with pytest.raises(ValueError, match=sentence):
        plan(stem=stem, blocks=blocks, input_shape=(99, stride - 1, 3))


@pytest.mark.parametrize(("kind", "channels"), [("plain", 16), ("B", 16), ("C", 16), ("BC", 24)])
def test_only_bc_networks_widen_the_cifar_stem(kind, channels):
    assert Architecture.plan(depth=40, growth_rate=12, **KINDS[kind]).stem_channels == channels
    for stem in ("imagenet", "deep"):
        assert Architecture.plan(depth=40, growth_rate=12, stem=stem, **KINDS[kind]).stem_channels == 24
    assert Architecture.plan(depth=40, growth_rate=12, stem_channels=7, **KINDS[kind]).stem_channels == 7


def test_stem_and_image_size_follow_from_what_was_given():
    imagenet, cifar = Architecture.plan(blocks=(6, 12)), Architecture.plan(depth=40)
    assert (imagenet.stem, imagenet.input_shape) == ("imagenet", (224, 224, 3))
    assert (cifar.stem, cifar.input_shape) == ("cifar", (32, 32, 3))
    headless = Architecture.plan(depth=40, include_top=False)
    assert (headless.input_shape, headless.classes) == ((None, None, 3), None)


def test_stages_are_the_rows_of_the_papers_table():
    found = plan(stem="imagenet", blocks=(6, 12, 24, 16), growth_rate=32, input_shape=(224, 192, 3)).stages
    assert [(stage.name, stage.out_channels, *stage.size) for stage in found] == [
        ("stem", 64, 112, 96),
        ("stem_pool", 64, 56, 48),
        ("block1", 256, 56, 48),
        ("transition1", 128, 28, 24),
        ("block2", 512, 28, 24),
        ("transition2", 256, 14, 12),
        ("block3", 1024, 14, 12),
        ("transition3", 512, 7, 6),
        ("block4", 1024, 7, 6),
        ("head", 1024, 7, 6),
    ]
