import pytest

from tests.training import processes


@pytest.fixture(scope="session")
def stripes():
    return processes.stripes()


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
