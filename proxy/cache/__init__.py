"""What has been said: keys, entries, and the tiers that hold them."""
