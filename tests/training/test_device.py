"""Whose peak an MFU is stated against: that of the whole device, or none."""

from types import SimpleNamespace

import pytest
import torch

from stepladder.training.device import describe


@pytest.mark.parametrize(
    ("name", "multiprocessors", "dtype", "peak", "said"),
    [
        ("NVIDIA H200", 132, "bf16", 989e12, "datasheet, SXM"),
        ("NVIDIA H200 NVL", 132, "bf16", 835.5e12, "datasheet, NVL"),
        ("NVIDIA H200 NVL", 132, "fp64", None, "no fp64 peak"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 16, "bf16", None, "matches"),
        ("NVIDIA H100 80GB HBM3", 60, "bf16", None, "60 of 132 multiprocessors: a slice"),
        ("NVIDIA A100-SXM4-40GB", 98, "bf16", None, "98 of 108 multiprocessors"),
        ("NVIDIA H999", 999, "bf16", None, "no entry of configs/hardware.yaml matches 'NVIDIA H999'"),
    ],
)
def test_peaks_of_whole_devices_only(monkeypatch, name, multiprocessors, dtype, peak, said):
    shown = SimpleNamespace(multi_processor_count=multiprocessors)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: shown)
    found = describe(torch.device("cuda"), dtype, 1, None)
    assert found.peak_flops_per_second == peak and said in found.source
