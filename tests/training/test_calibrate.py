"""The measured peak of a CPU."""

from stepladder.training.calibrate import measure_gemm_peak


def test_products_that_take_longer_than_the_whole_measurement_are_left_out():
    """0.1 ms: after the smallest product (6 MFLOP) none of the others (34 MFLOP and more) fits."""
    measured = measure_gemm_peak(threads=1, dtype="fp32", seconds=1e-4)
    assert list(measured["by_shape"]) == ["1024x96x32"]
    assert measured["flops_per_second"] > 0
