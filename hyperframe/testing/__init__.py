"""What tests of targets, gauges and estimators share: example networks and strategies for hypothesis.

`examples` needs no more than the library; `strategies` needs hypothesis, and is the only module that imports it.
"""
