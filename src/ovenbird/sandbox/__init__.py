"""A local AWS that boots: moto's protocol, corrected, with real machines behind it."""
