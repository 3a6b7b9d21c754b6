"""What several workers tell, merged."""

from valve_sidecar.supervisor import merge_memory


def test_of_each_device_the_worker_that_decides_tells() -> None:
    looks, decides = {"device": "a", "decides": False}, {"device": "a", "decides": True}
    other = {"device": "b", "decides": False}
    assert merge_memory([[looks], [decides, other], [looks]]) == [decides, other]
    assert merge_memory([[], []]) == []
