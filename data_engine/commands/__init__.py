"""What somebody asks of a workspace's owner: a frozen value for each verb, which checks itself and says what it does."""
