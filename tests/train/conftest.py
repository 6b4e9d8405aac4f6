"""TF Hub modules of the kinds that an encoder layer meets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def module(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A BERT as this project writes it, with weights large enough that a wrong part changes the answer."""
    from tests.train import tiny
    from train import bert_encoder
    from train.keras2 import tf, tf_keras

    tf_keras.utils.set_random_seed(7)
    model = bert_encoder.build(tiny.SIZE)
    for variable in model.variables:
        variable.assign_add(tf.random.normal(variable.shape, stddev=0.1))
    return tiny.save_module(model, tmp_path_factory.mktemp("module") / "own")


@pytest.fixture
def float32() -> Iterator[None]:
    """For tests that set Keras' policy: it is set back."""
    from train import classifier

    yield
    classifier.set_precision("none")


@pytest.fixture(scope="session")
def one_rank() -> None:
    import horovod.tensorflow as hvd

    hvd.init()
