"""Every knob that flyball knows by name, in the order in which they are chosen and tried."""

from flyball.tuners.knobs.allocator import KNOBS as ALLOCATOR_KNOBS
from flyball.tuners.knobs.batch import KNOBS as BATCH_KNOBS
from flyball.tuners.knobs.communication import KNOBS as COMMUNICATION_KNOBS
from flyball.tuners.knobs.engine import KNOBS as ENGINE_KNOBS
from flyball.tuners.knobs.knob import Knob
from flyball.tuners.knobs.model import KNOBS as MODEL_KNOBS
from flyball.tuners.knobs.network import KNOBS as NETWORK_KNOBS
from flyball.tuners.knobs.precision import KNOBS as PRECISION_KNOBS
from flyball.tuners.knobs.zero import KNOBS as ZERO_KNOBS
from flyball.tuners.knobs.zeropp import KNOBS as ZEROPP_KNOBS

KNOBS: tuple[Knob, ...] = (
    *PRECISION_KNOBS,
    *BATCH_KNOBS,
    *ZERO_KNOBS,
    *ZEROPP_KNOBS,
    *COMMUNICATION_KNOBS,
    *ENGINE_KNOBS,
    *MODEL_KNOBS,
    *ALLOCATOR_KNOBS,
    *NETWORK_KNOBS,
)
BY_NAME: dict[str, Knob] = {knob.name: knob for knob in KNOBS}
