"""The fleet planner: what release-on-drain harvests on given traffic, by simulation of every replica."""
