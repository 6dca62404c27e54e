"""`pressluft demo`: the whole product on two real WordPress sites in a folder of its own."""
