"""Recurrent modules by their equations, which many networks can run together and tracing can follow.

- `cells`: one step of an LSTM, a GRU and a plain recurrent network
- `layers`: `nn.LSTM`, `nn.GRU`, `nn.RNN` and their cells, as modules that call a cell for one step after the other
"""
