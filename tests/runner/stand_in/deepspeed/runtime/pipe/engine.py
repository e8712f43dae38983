from deepspeed.runtime.engine import DeepSpeedEngine


class PipelineEngine(DeepSpeedEngine):
    def _exec_forward_pass(self, buffer_id):
        pass

    def train_batch(self, data_iter=None):
        pass

    def eval_batch(self, data_iter):
        pass

    _INSTRUCTION_MAP = {"ForwardPass": _exec_forward_pass}  # noqa: RUF012
