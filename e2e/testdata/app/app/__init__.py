"""What the end-to-end tests run."""
