import pytest

from monai_wsss.data.labels.table_dates import read_dates


@pytest.mark.parametrize(
    ("texts", "dates", "plain"),
    [
        (["2024-01-31", "20240131", "31.1.2024", "2024/1/31"], ["2024-01-31"] * 4, True),
        (["2024-01-31 07:05:00", "31.01.2024 07:05"], ["2024-01-31"] * 2, True),
        (["", "2024", "20241301", "31.2.2024", "soon"], [None] * 5, True),
        (["31/01/2024", "02/03/2024"], ["2024-01-31", "2024-03-02"], True),  # no month 31: the day is first
        (["01/31/2024", "02/03/2024"], ["2024-01-31", "2024-02-03"], True),
        (["2024-01-31", "02/03/2024"], ["2024-01-31", None], False),  # 2 March or 3 February
        (["01/31/2024", "31/01/2024"], [None, None], False),
    ],
)
def test_dates(texts, dates, plain):
    assert read_dates(texts) == (dates, plain)
