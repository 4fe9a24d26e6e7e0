"""Step caching: skips denoiser passes whose output can be extrapolated from earlier steps. Faster and less exact.

EasyCache, Zhou et al. 2025, https://arxiv.org/abs/2507.02860: the ratio of the change of a denoiser's output to the
change of its input is nearly constant from step to step. While the output change predicted by this ratio, relative to
the output and summed over skipped steps, stays below a threshold, the last computed residual (output minus input) is
added to the input instead of running the network.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

# The first steps decide the composition, so they are always computed.
MIN_COMPUTED_STEPS = 3
EPSILON = 1e-12


class StepCache:
    """The predictors of one job, one for each denoiser call within a step.

    `threshold` is the relative output change that may sum up before the network runs again; 0 computes every step.
    `tokens` is how many of the denoiser's tokens are those of the picture; the others are not painted. None: all are.
    """

    def __init__(self, threshold: float = 0.0, tokens: int | None = None) -> None:
        self.threshold, self.tokens = threshold, tokens
        self._predictors: list[OutputPredictor] = []
        self._call_index = 0

    def end_step(self) -> None:
        """Marks the end of a step, so that the next call gets the first predictor."""
        self._call_index = 0

    def repeat_outputs(self) -> None:
        """Makes all later calls return what the last ones did: nothing depends on them any more."""
        for predictor in self._predictors:
            predictor.repeats = True

    def next_predictor(self) -> OutputPredictor:
        """Returns the predictor of the next call. Some pipelines make two calls per step, one for each prompt."""
        if self._call_index == len(self._predictors):
            self._predictors.append(OutputPredictor(self.threshold, self.tokens))
        self._call_index += 1
        return self._predictors[self._call_index - 1]


class OutputPredictor:
    """Predicts the output of one denoiser call per step.

    `repeats` makes it predict the last output again. `_last` has the input and output of the last step, `_residual` the
    output minus the input of the last computed one. Of all of them, only the first `tokens` along dimension 1 count, or
    all if it is None.
    """

    def __init__(self, threshold: float, tokens: int | None = None) -> None:
        self.threshold, self.tokens = threshold, tokens
        self.repeats = False
        self._computed_count = 0
        self._output: Any = None
        self._last: tuple[Tensor, Tensor] | None = None
        self._residual: Tensor | None = None
        self._rate = self._change = 0.0

    def predict(self, x: Any) -> Any:
        """Returns the extrapolated output for the tokens of the picture; None if the network must run."""
        if self.repeats:
            return self._output
        if self._computed_count <= MIN_COMPUTED_STEPS or self._last is None or self._residual is None:
            return None
        x = x[:, : self.tokens]
        last_input, last_output = self._last
        self._change += (
            self._rate * compute_mean_magnitude(x - last_input) / max(compute_mean_magnitude(last_output), EPSILON)
        )
        if self._change >= self.threshold:
            return None
        self._last = x, x + self._residual
        return (self._last[1],)

    def update(self, x: Any, output: Any) -> None:
        """Records a computed output. Outputs of another shape than the input are ignored, and never predicted."""
        self._output = output
        sample = output[0] if self.threshold and isinstance(output, tuple) else None
        if not isinstance(x, Tensor) or not isinstance(sample, Tensor) or sample.shape != x.shape:
            return
        x, sample = x[:, : self.tokens], sample[:, : self.tokens]
        if self._last is not None:
            last_input, last_output = self._last
            self._rate = compute_mean_magnitude(sample - last_output) / max(
                compute_mean_magnitude(x - last_input), EPSILON
            )
        self._computed_count += 1
        self._change = 0.0
        self._last, self._residual = (x, sample), sample - x


def compute_mean_magnitude(tensor: Tensor) -> float:
    """Returns the mean absolute value, computed in float32."""
    return float(tensor.float().abs().mean())
