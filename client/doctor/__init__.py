"""`hushrec doctor`: what is wrong with a client, in one line each, and what to do about it."""
