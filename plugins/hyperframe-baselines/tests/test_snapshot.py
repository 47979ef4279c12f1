from hyperframe.testing import conformance


@conformance("snapshot")
def test_laws(check):
    check()
