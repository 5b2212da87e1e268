"""The demo workspace: real flights from New York, and three notebook flows over them."""
