from benchmarks.scan import scan_timing


def test_counts_what_it_times(tmp_path):
    cost = scan_timing(tmp_path, files=50, workers=1)
    assert (cost["files"], cost["volumes"]) == (50, 2)  # 40 slices and 10
    assert cost["seconds"] >= 0 and cost["megabytes"] >= cost["megabytes_before"] > 0
