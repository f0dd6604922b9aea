"""What agents say, written down and rendered before anybody asks."""
