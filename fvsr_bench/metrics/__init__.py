"""What is measured: fidelity, identity, time, perception, and the shift diagnostic."""
