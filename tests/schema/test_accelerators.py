"""Which device is which: the mistakes that put wrong MFUs into print."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.schema.accelerators import accelerators, find_accelerator

NAMES = {
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA A10": 125e12,
    "NVIDIA A10G": None,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100 NVL": 835e12,
    "NVIDIA H200": 989e12,
    "NVIDIA H200 NVL": 835.5e12,
    "NVIDIA H200 MIG 1g.18gb": None,
    "NVIDIA H100 80GB HBM3 MIG 3g.40gb": None,
    "NVIDIA A100-SXM4-40GB MIG 1g.5gb": None,
    "NVIDIA H100 PCIe MIG 7g.80gb": None,
    "NVIDIA H100 64GB HBM2": None,
    "NVIDIA GH200 480GB": None,
    "NVIDIA H20-3e": None,
    "NVIDIA A100X": None,
    "GRID A100-20C": None,
    "NVIDIA A100-40C": None,
    "NVIDIA L40S-48Q": None,
    "NVIDIA B200 MIG 1g.23gb": None,
    "AMD Instinct MI300X VF": None,
    "A100-PCIE-40GB": 312e12,
    " NVIDIA A100 80GB PCIe ": 312e12,
    "AMD Instinct MI300X OAM": 1307e12,
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


@given(
    st.sampled_from([f"NVIDIA {name}" for entry in accelerators().values() for name in entry.match]),
    st.text(alphabet="ABCMIGX0123456789 -.", min_size=1, max_size=12).filter(str.strip),
)
def test_a_name_that_says_more_is_another_device(name, more):
    known = {f"NVIDIA {name}" for entry in accelerators().values() for name in entry.match}
    for other in (name + more, f"{name} {more}", more + name.removeprefix("NVIDIA ")):
        if f"NVIDIA {other.strip().removeprefix('NVIDIA ')}" not in known:
            assert find_accelerator(other, accelerators()) is None


@pytest.mark.parametrize("peak", ["0", "-1", ".inf", ".nan", "1e30", "fast"])
def test_a_peak_out_of_range_is_refused(tmp_path, peak):
    path = tmp_path / "hardware.yaml"
    path.write_text(f"accelerators: {{x: {{match: [x], peaks: {{bf16: {peak}}}, source: me}}}}")
    with pytest.raises(ValueError, match=r"hardware.yaml: accelerators.x.peaks.bf16 = .*"):
        accelerators(path)


def test_every_peak_has_a_source():
    assert all(entry.source and "bf16" in entry.peaks for entry in accelerators().values())
