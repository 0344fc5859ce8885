"""What several test modules build, run or compare with: no test module imports from another."""
