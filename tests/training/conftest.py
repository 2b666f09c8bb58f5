import pytest

from keras_densenet.training import train
from tests.training import processes


@pytest.fixture(scope="session")
def stripes():
    return processes.stripes()


@pytest.fixture(scope="session")
def finished(tmp_path_factory, stripes):
    """The folder of a run that has ended, which nobody changes, and its state."""
    folder = tmp_path_factory.mktemp("run")
    return folder, train(processes.NETWORK, "stripes", stripes, processes.RECIPE, folder)


@pytest.fixture
def start():
    """Starts `processes.run` in a process of its own; what still runs at the end of the test is killed."""
    started = []

    def start(*arguments, **options):
        started.append(processes.CONTEXT.Process(target=processes.run, args=arguments, kwargs=options))
        started[-1].start()
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.join(10)
