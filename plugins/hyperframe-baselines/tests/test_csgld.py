from hyperframe.testing import conformance


@conformance("csgld")
def test_laws(check):
    check()
