"""Many shops on one machine: how a federation grows with shops and with the catalogue."""
