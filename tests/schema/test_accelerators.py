"""Which device is which: the mistakes that put wrong MFUs into print."""

import pytest

from stepladder.schema.accelerators import accelerators, find_accelerator

NAMES = {
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA A10": 125e12,
    "NVIDIA A10G": None,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100 NVL": 835e12,
    "NVIDIA H200": 989e12,
    "NVIDIA H20": 148e12,
    "NVIDIA B200": 2250e12,
    "NVIDIA GB200": 2500e12,
    "NVIDIA L40S": 362e12,
    "NVIDIA L4": None,
    "AMD Instinct MI300X": 1307e12,
    "NVIDIA GeForce RTX 4090": None,
}


@pytest.mark.parametrize("name", NAMES)
def test_peak_by_device_name(name):
    entry = find_accelerator(name, accelerators())
    assert (entry.peaks["bf16"] if entry else None) == NAMES[name]


def test_every_peak_has_a_source():
    assert all(entry.source and "bf16" in entry.peaks for entry in accelerators().values())
