import pytest
import torch

from flyball.runner.probe.readings import CudaReadings

pytestmark = pytest.mark.gpu


def test_losses_and_device_time_arrive_without_waiting_for_the_device() -> None:
    readings = CudaReadings(torch, 0)
    matrix = torch.randn((4096, 4096), device="cuda")
    known = []
    for step in range(1, 6):
        for micro in (0.0, 2.0):
            readings.loss(torch.full((), step + micro, device="cuda", dtype=torch.bfloat16))
        for _ in range(50):
            matrix @ matrix
        found = readings.boundary(step, mean=True)
        known += [found] if found else []
        # Far more than LOSS_INTERVAL_SECONDS of work, so every step's loss is due.
        torch.cuda.synchronize()
    known += [found] if (found := readings.boundary(6, mean=True)) else []
    assert known
    assert all(loss == step + 1.0 for step, loss in known)
    device = readings.device_seconds()
    assert device is not None
    assert 0 < device[1] < 10


def test_the_allocator_is_read_in_bytes() -> None:
    import json

    kept = torch.empty(2**20, dtype=torch.uint8, device="cuda")
    memory = json.loads(CudaReadings(torch, 0).memory())
    assert memory["peak_reserved"] >= memory["reserved"] >= memory["allocated"] >= kept.nbytes
    assert memory["ooms"] == 0
