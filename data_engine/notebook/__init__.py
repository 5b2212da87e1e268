"""From notebook to module: read the cells, keep what `build()` needs, compile, load, and lead errors back to cells."""
