"""What makes the bytes of each codec from samples at the rate of the format."""
