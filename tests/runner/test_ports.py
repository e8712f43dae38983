import pytest

from flyball.runner import ports


@pytest.mark.parametrize("ephemeral", [1024, 15000, 32768, 60000])
def test_a_port_is_found_wherever_the_kernels_own_range_begins(
    ephemeral: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "_ephemeral_start", lambda: ephemeral)
    given = [ports.free_port() for _ in range(20)]
    assert len(set(given)) == 20
    assert all(20000 <= port <= 32767 for port in given)
    assert ephemeral < 20001 or all(port < ephemeral for port in given)
