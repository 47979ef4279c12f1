from hyperframe.testing import conformance


@conformance("sgd_chain")
def test_laws(check):
    check()
