"""What nbval compares in the cells that are marked to be checked: text, not what differs from run to run."""


def pytest_collectstart(collector):
    if collector.path.suffix == ".ipynb":
        collector.skip_compare += ("text/html", "image/svg+xml", "application/javascript", "stderr")
