"""Networks over vectors of items; torch is loaded by whoever imports one of them."""
