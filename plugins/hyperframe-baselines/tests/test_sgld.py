from hyperframe.testing import conformance


@conformance("sgld")
def test_laws(check):
    check()
