"""TF Hub modules of the kinds that an encoder layer meets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def module(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A BERT as this project writes it, with weights large enough that a wrong part changes the
    answer.
    """
    from slipway.encoder import bert
    from slipway.tensorflow import tf, tf_keras
    from tests.support.models import tiny_modules

    tf_keras.utils.set_random_seed(7)
    model = bert.build(tiny_modules.SIZE)
    for variable in model.variables:
        variable.assign_add(tf.random.normal(variable.shape, stddev=0.1))
    return tiny_modules.save_module(model, tmp_path_factory.mktemp("module") / "own")


@pytest.fixture
def float32() -> Iterator[None]:
    """For tests that set Keras' policy: it is set back."""
    from train.model import classifier

    yield
    classifier.set_precision("none")


@pytest.fixture(scope="session")
def one_rank() -> None:
    import horovod.tensorflow as hvd

    hvd.init()
