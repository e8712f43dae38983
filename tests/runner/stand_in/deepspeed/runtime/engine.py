from types import SimpleNamespace

import torch


class DeepSpeedEngine(torch.nn.Module):
    def __init__(self, model, config):
        super().__init__()
        assert config["train_micro_batch_size_per_gpu"] > 0, "micro batch must be positive"
        self.module = model
        self.device = torch.device("cpu")
        self.dp_world_size = 1
        self.optimizer = SimpleNamespace(param_groups=[{"lr": 0.5}])
        self._config = SimpleNamespace(_param_dict=config)
        self._step_applied = True

    def train_micro_batch_size_per_gpu(self):
        return self._config._param_dict["train_micro_batch_size_per_gpu"]

    def gradient_accumulation_steps(self):
        return 1

    def train_batch_size(self):
        return self.train_micro_batch_size_per_gpu()

    def zero_optimization_stage(self):
        return 0

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)

    def backward(self, loss):
        loss.backward()

    def step(self):
        self._take_model_step(None)

    def _take_model_step(self, lr_kwargs):
        pass

    def train(self, mode=True):
        self.module.train(mode)

    def eval(self):
        self.module.train(False)

    def save_checkpoint(self, save_dir, tag=None):
        pass

    def load_checkpoint(self, load_dir, tag=None):
        return load_dir, {}
