"""An in-memory fake of every port, for tests of stages and for people who write stages of their own.

    world = World(files, planner)   # an ops repository as a mapping of path to bytes, adopted at once
    world.fire(alert)               # an alert arrives
    await world.settle()            # every due case walks until it waits or closes
    world.merge(case, "anna")       # a person approves
    world.clock.pass_seconds(10)    # time goes by

The fakes keep the promises of the ports (leases, fences, at most once, all or none) and nothing more.
"""

from receiver.testing.world import World

__all__ = ["World"]
