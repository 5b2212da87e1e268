"""Moving a workspace from the older system: what it left is read and never changed, and this system goes on from there."""
