# SPDX-License-Identifier: Apache-2.0
"""Looks at a running gateway: its metrics, its readiness, its list of devices."""

import http.client
import threading
import time
from dataclasses import dataclass

from parts import Gateway


@dataclass
class Sample:
    began: float
    at: float  # when all of it was there
    metrics: dict[str, float]
    online: int
    ready: int
    reasons: list[str]

    def total(self, name: str) -> float:
        """Over all values of its labels."""
        return sum(value for key, value in self.metrics.items() if key.split("{")[0] == name)

    def get(self, name: str, **labels: str) -> float:
        return sum(value for key, value in self.metrics.items()
                   if key.split("{")[0] == name and all(f'{label}="{text}"' in key for label, text in labels.items()))

    def lane_state(self, lane: str) -> str:
        return next((key.split('state="')[1].split('"')[0] for key, value in self.metrics.items()
                     if key.startswith("fieldgate_lane_state{") and f'lane="{lane}"' in key and value == 1), "none")


def take_sample(gateway: Gateway) -> Sample:
    began = time.monotonic()
    status, reasons = gateway.readiness()
    metrics, online = gateway.metrics(), gateway.online()
    return Sample(began, time.monotonic(), metrics, online, status, reasons)


class Sampler:
    """Looks at the gateway again and again, on a thread of its own; a gateway that may be killed is not always there."""

    def __init__(self, gateway: Gateway, *, may_be_gone: bool = False) -> None:
        self.gateway, self.samples, self.error = gateway, [], None
        self.expected = (OSError, http.client.HTTPException) if may_be_gone else ()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        try:
            while not self.stopping.wait(0.2):
                try:
                    self.samples.append(take_sample(self.gateway))
                except self.expected:
                    continue
        except Exception as error:  # whoever waits for a sample raises it
            self.error = error

    def stop(self) -> None:
        self.stopping.set()
        self.thread.join()

    def between(self, begin: float, until: float) -> list[Sample]:
        return [sample for sample in self.samples if begin <= sample.began and sample.at <= until]
