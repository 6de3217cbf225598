import pytest

from pdeml import surrogates
from tests.surrogates import small


@pytest.fixture(scope="package", autouse=True)
def small_model():
    """The small model is a public one while these tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(surrogates.MODELS, small.NAME, small.HOME)
        yield


@pytest.fixture(scope="package")
def data(tmp_path_factory):
    """Twelve samples of travelling waves: nine to train on, three to validate."""
    return small.waves(tmp_path_factory.mktemp("waves") / "waves.h5").split((0.75, 0.25))
