"""From a look at the modules to the rows that say what production runs, and the files on the share that they point to."""
