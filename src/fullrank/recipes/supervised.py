"""Recipes of the supervised baseline."""

from fullrank.config import OptimizerConfig, RunConfig
from fullrank.methods.supervised import Supervised
from fullrank.recipes import _targets
from fullrank.views import policies


def tiny() -> RunConfig[Supervised.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world.

    Settings: ours.
    Command: `fullrank train supervised.tiny`. Not measured.
    """
    method = Supervised.Config(augmentation=policies.digits(_targets.TINY_PIXELS), label_names=("digit",))
    return RunConfig[Supervised.Config](method=method, **_targets.TINY)


def moving_digits() -> RunConfig[Supervised.Config]:
    """The embedded world: which digit and which motion, learned together.

    Settings: ours; network and steps of the other methods' recipe, learning rate 0.0012 (docs/lab-notes.md).
    Command: `fullrank train supervised.moving_digits`. Not measured.
    """
    method = Supervised.Config(augmentation=policies.digits(_targets.MOVING_DIGITS_PIXELS), label_names=("digit", "motion"))
    config = RunConfig[Supervised.Config](method=method, **_targets.MOVING_DIGITS)
    return config.model_copy(update={"optimizer": config.optimizer.model_copy(update={"base_learning_rate": 2.4e-3})})


def video() -> RunConfig[Supervised.Config]:
    """Any folder of videos sorted into one folder a class.

    Settings: ours; network and steps of the other methods' recipe, so that it is their ceiling.
    Command: `fullrank train supervised.video --data.path my_videos/`. Not measured.
    """
    method = Supervised.Config(augmentation=policies.weak(_targets.VIDEO_PIXELS))
    return RunConfig[Supervised.Config](method=method, **_targets.VIDEO)


def images() -> RunConfig[Supervised.Config]:
    """Any folder of images sorted into one folder a class.

    Settings: ours; network and steps of the other methods' recipe, so that it is their ceiling.
    Command: `fullrank train supervised.images --data.path my_images/`. Not measured.
    """
    method = Supervised.Config(augmentation=policies.weak(_targets.IMAGES_PIXELS))
    return RunConfig[Supervised.Config](method=method, **_targets.IMAGES)


def cifar10() -> RunConfig[Supervised.Config]:
    """CIFAR-10 with labels: 200 epochs, batch 128.

    Settings: the usual ones for this network (SGD 0.1 for a batch of 128, weight decay 5e-4, cosine).
    Command: `fullrank train supervised.cifar10 --data.path cifar10/`. Not measured.
    """
    return RunConfig[Supervised.Config](
        method=Supervised.Config(augmentation=policies.weak(32)),
        optimizer=OptimizerConfig(name="sgd", base_learning_rate=0.2, weight_decay=5e-4),
        epochs=200.0,
        **_targets.cifar10(128),
    )
