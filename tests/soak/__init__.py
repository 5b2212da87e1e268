"""Long campaigns, one command each: `python -m tests.soak.NAME [N]`. They print what they did and fail loudly."""
