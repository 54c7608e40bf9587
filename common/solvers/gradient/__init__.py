"""Private gradient descent on networks; `neural` and `sequential` are made of it."""
